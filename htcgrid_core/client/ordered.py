"""Results in order while a session runs: pages come in commit order, gaps are waited for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from htcgrid_core.client.session import CANCELLED_ERROR, Session
from htcgrid_core.domain.errors import TaskFailed
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome


def result_of(session_id: str, task: TaskOutcome) -> Any:
    """The task's result.

    Raises:
        What the callable raised, with the worker's traceback as its note; TaskFailed if that is not to be had.
    """
    if task.state is TaskState.COMPLETED:
        return task.result
    raise exception_of(session_id, task)


def exception_of(session_id: str, task: TaskOutcome) -> BaseException:
    """What a failed task raises here."""
    error = task.error or CANCELLED_ERROR
    if error.exception is None:
        return TaskFailed(session_id, task.index, error)
    error.exception.__cause__ = TaskFailed(session_id, task.index, error)
    return error.exception


def in_order(session: Session, timeout: float | None) -> Iterator[Any]:
    """Yield results by index; those that came too early are held until their turn.

    Whoever stops taking results, or is stopped by a failure, has no use for the rest: the session is cancelled.
    """
    early: dict[int, TaskOutcome] = {}
    turn = 0
    try:
        for task in session.as_completed(timeout):
            early[task.index] = task
            while turn in early:
                yield result_of(session.id, early.pop(turn))
                turn += 1
    finally:
        if not session.done():
            session.cancel("its results are not taken any more")
