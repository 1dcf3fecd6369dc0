"""What a task that has no result raises."""

from __future__ import annotations

from htcgrid_core.domain.errors import TaskFailed
from htcgrid_core.domain.outcome import TaskError, TaskOutcome

CANCELLED_ERROR = TaskError("Cancelled", "its session ended before it did")


def failure_of(session_id: str, task: TaskOutcome) -> TaskFailed:
    """A task that failed or was cancelled, as an error."""
    return TaskFailed(session_id, task.index, task.error or CANCELLED_ERROR)


def exception_of(session_id: str, task: TaskOutcome) -> BaseException:
    """What the callable raised, with the worker's traceback as its cause; TaskFailed if that is not to be had."""
    failure = failure_of(session_id, task)
    if failure.error.exception is None:
        return failure
    failure.error.exception.__cause__ = failure
    return failure.error.exception
