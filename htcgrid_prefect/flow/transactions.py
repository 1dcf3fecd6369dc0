"""In the flow's process: a transaction around calls, in which they take part as if they had run here."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable
from typing import Any

import cloudpickle
from prefect import Task
from prefect.context import TaskRunContext
from prefect.filesystems import NullFileSystem
from prefect.results import ResultStore, get_result_store
from prefect.transactions import (
    AsyncTransaction,
    BaseTransaction,
    CommitMode,
    IsolationLevel,
    Transaction,
    TransactionState,
    get_transaction,
)
from prefect.utilities.asyncutils import run_coro_as_sync

from htcgrid_core import InvalidInput
from htcgrid_prefect.shared.transaction import Part, Surrounding


class TransactionAround:
    """The transaction that calls of a task are made in."""

    def __init__(self, task: Task[..., Any], transaction: BaseTransaction) -> None:
        self._task = task
        self._transaction = transaction
        self._context = contextvars.copy_context()  # in which it is the current one

    @property
    def id(self) -> int:
        """Tells it from others that are held."""
        return id(self._transaction)

    def surrounding(self) -> Surrounding:
        """What the worker is told of it.

        Raises:
            InvalidInput: it locks its records, which a worker cannot do for it.
        """
        level = self._transaction.isolation_level or IsolationLevel.READ_COMMITTED
        own = getattr(self._task.cache_policy, "isolation_level", None)
        if (own or level) is IsolationLevel.SERIALIZABLE:
            raise InvalidInput(
                f"task {self._task.name!r} is submitted inside of a transaction, and SERIALIZABLE: a lock that its "
                "worker takes cannot be given back here. Use READ_COMMITTED, or run it with ThreadPoolTaskRunner"
            )
        return Surrounding(isolation_level=level.name, values=_values(self._transaction))

    def take_part(self, pickled: bytes, rolled_back: Callable[[], None]) -> None:
        """A call has ended: what it did is committed or rolled back with the transaction.

        Args:
            pickled: its parts, as a worker sends them.
            rolled_back: called when the call itself is rolled back.

        Raises:
            Exception: whatever loading them raises.
        """
        parts: list[Part] = cloudpickle.loads(pickled)
        for part in parts:
            self._context.copy().run(self._take_part, part, rolled_back)

    def _take_part(self, part: Part, rolled_back: Callable[[], None]) -> None:
        child = _made(part)
        if part.key is not None:
            child.store = _store_of(self._task)
        if part.has_hooks:
            on_commit: list[Any] = self._task.on_commit_hooks  # of tasks, which say that they take one kind only
            on_rollback: list[Any] = self._task.on_rollback_hooks
            child.on_commit_hooks = list(on_commit)
            child.on_rollback_hooks = [_of_the_run(rolled_back), *on_rollback]
        if self._transaction.commit_mode is CommitMode.EAGER:
            _done(child.commit())  # type: ignore[attr-defined]  # both kinds have one
        self._transaction.add_child(child)
        if child.is_rolled_back():
            self._roll_back()

    def roll_back(self) -> None:
        """A call was lost: as if it had raised an exception here."""
        self._context.copy().run(self._roll_back)

    def _roll_back(self) -> None:
        _done(self._transaction.rollback())  # type: ignore[attr-defined]  # both kinds have one


def transaction_around(task: Task[..., Any], *, is_bare: bool) -> TransactionAround | None:
    """The transaction that a call made now is in, if any.

    Raises:
        InvalidInput: the call would have no part in it.
    """
    transaction = get_transaction()
    if transaction is None or not is_bare:
        return TransactionAround(task, transaction) if transaction else None
    # Around what a task submits there always is one, that task's own.
    if TaskRunContext.get() is None or task.on_rollback_hooks or task.on_commit_hooks:
        raise InvalidInput(
            f'task {task.name!r} is submitted inside of a transaction, and with engine="grid" it would have no part in '
            'that: use engine="prefect", or submit it outside'
        )
    return None


def _values(transaction: BaseTransaction) -> dict[str, Any]:
    parent = transaction.get_parent()
    around = _values(parent) if parent is not None and parent is not transaction else {}
    return {**around, **transaction._stored_values}


def _made(part: Part) -> BaseTransaction:
    kind: Any = AsyncTransaction if part.is_async else Transaction
    made: BaseTransaction = kind(
        key=part.key,
        store=part.store,
        commit_mode=CommitMode[part.commit_mode],
        isolation_level=IsolationLevel[part.isolation_level],
        state=TransactionState[part.state],
        overwrite=part.overwrite,
        write_on_commit=part.write_on_commit,
        on_commit_hooks=part.on_commit,
        on_rollback_hooks=part.on_rollback,
        children=[_made(inner) for inner in part.parts],
    )
    made._stored_values, made._staged_value, made._holder = part.values, part.staged, part.holder
    return made


def _store_of(task: Task[..., Any]) -> ResultStore:
    own: Any = (
        get_result_store().update_for_task
    )  # it says that it may be asynchronous; as Prefect's engine calls it, not
    store: ResultStore = own(task, _sync=True)
    if isinstance(store.metadata_storage, NullFileSystem):
        store = store.model_copy(update={"metadata_storage": None})
    return store


def _of_the_run(rolled_back: Callable[[], None]) -> Callable[[BaseTransaction], None]:
    def hook(transaction: BaseTransaction) -> None:
        rolled_back()

    hook.log_on_run = False  # type: ignore[attr-defined]  # it is not the user's
    return hook


def _done(found: Any) -> None:
    if inspect.isawaitable(found):
        coroutine: Any = found
        run_coro_as_sync(coroutine)
