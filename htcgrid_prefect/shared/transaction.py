"""What a worker and a flow tell each other of a transaction around a task, which is the flow's to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict


class Surrounding(TypedDict):
    """The transaction that a call was made in, on its way to the worker.

    It is a plain dict, so that its pickle names no class of ours, which workers of the release before would not find.

    Attributes:
        isolation_level: its name.
        values: what was set in it, and in those around it.
    """

    isolation_level: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A transaction that ended in the worker inside of that one, and is committed or rolled back with it.

    Attributes:
        key, overwrite, write_on_commit, values, staged, holder: its own; ``staged`` only if it is to be written.
        state, isolation_level, commit_mode: their names.
        is_async: of which kind it is.
        has_hooks: whether a commit or rollback calls any.
        on_commit, on_rollback: its hooks; empty for a task's own, which the flow has.
        store: where it is written; None for a task's own, which the flow has.
        parts: those inside of it.
    """

    key: str | None
    state: str
    isolation_level: str
    commit_mode: str
    overwrite: bool
    write_on_commit: bool
    values: dict[str, Any]
    staged: Any
    holder: str
    is_async: bool
    has_hooks: bool
    on_commit: list[Callable[..., Any]]
    on_rollback: list[Callable[..., Any]]
    store: Any
    parts: list[Part]
