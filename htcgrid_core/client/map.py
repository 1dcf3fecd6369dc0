"""``map``: results in order while a session runs. Tasks come in the order of their commits, gaps are waited for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from htcgrid_core.client.session import Session
from htcgrid_core.client.task_errors import exception_of
from htcgrid_core.domain.errors import GRID_FAILURES
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome


def map_results(session: Session, timeout: float | None) -> Iterator[Any]:
    """Yield results by index; those that came too early are held until their turn.

    Whoever stops taking results, or is stopped by a failure, has no use for the rest: the session is cancelled. But not
    if the grid cannot be reached: it goes on, and its results can be had later.

    Raises:
        What the callable raised, with the worker's traceback as its cause; TaskFailed if that is not to be had.
    """
    early: dict[int, TaskOutcome] = {}
    turn, is_lost = 0, False

    def ended() -> Iterator[TaskOutcome]:
        nonlocal is_lost
        try:
            yield from session.as_completed(timeout)
        except GRID_FAILURES:
            is_lost = True
            raise

    try:
        for task in ended():
            early[task.index] = task
            while turn in early:
                yield _result_of(session.id, early.pop(turn))
                turn += 1
    finally:
        if not is_lost and not session.done():
            session.cancel("its results are not taken any more")


def _result_of(session_id: str, task: TaskOutcome) -> Any:
    if task.state is TaskState.COMPLETED:
        return task.result
    raise exception_of(session_id, task)
