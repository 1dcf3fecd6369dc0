"""In a worker: a stand-in for the transaction around a call, and what ended in it."""

from __future__ import annotations

from typing import Any

from prefect.transactions import AsyncTransaction, BaseTransaction, CommitMode, IsolationLevel, Transaction
from prefect.transactions import TransactionState as State

from htcgrid_prefect.shared.transaction import Part, Surrounding


def enter(surrounding: Surrounding) -> Transaction:
    """Stand in, in this context, for the transaction of the flow: nothing is committed here."""
    stand_in = Transaction(
        commit_mode=CommitMode.LAZY, isolation_level=IsolationLevel[surrounding["isolation_level"]], state=State.ACTIVE
    )
    for name, value in surrounding["values"].items():
        stand_in.set(name, value)
    token: Any = BaseTransaction.__var__.set(stand_in)
    stand_in._token = token  # as if it had been entered: nothing is around it
    return stand_in


def parts_of(stand_in: Transaction) -> list[Part]:
    """What tasks ended in it, one for each attempt."""
    return [_part(child, is_own=True) for child in stand_in.children]


def _part(transaction: BaseTransaction, *, is_own: bool) -> Part:
    is_written = transaction.key is not None and transaction.write_on_commit
    assert transaction.isolation_level is not None, "it was entered"
    assert transaction.commit_mode is not None, "it was entered"
    return Part(
        key=transaction.key,
        state=transaction.state.name,
        isolation_level=transaction.isolation_level.name,
        commit_mode=transaction.commit_mode.name,
        overwrite=transaction.overwrite,
        write_on_commit=transaction.write_on_commit,
        values=transaction._stored_values,
        staged=transaction._staged_value if is_written else None,
        holder=transaction._holder,
        is_async=isinstance(transaction, AsyncTransaction),
        has_hooks=bool(transaction.on_commit_hooks or transaction.on_rollback_hooks),
        # Prefect's own hook, which logs nothing, belongs to the engine of a run that is over.
        on_commit=[] if is_own else list(transaction.on_commit_hooks),
        on_rollback=[] if is_own else [h for h in transaction.on_rollback_hooks if getattr(h, "log_on_run", True)],
        store=None if is_own else transaction.store,
        parts=[_part(child, is_own=False) for child in transaction.children],
    )
