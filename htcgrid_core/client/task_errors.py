"""What a task that has no result raises."""

from __future__ import annotations

from htcgrid_core.domain.errors import TaskFailed
from htcgrid_core.domain.outcome import TaskError, TaskOutcome

# As Python does itself: the exception's own class may forbid it, or raise anything.
_set_cause = BaseException.__cause__.__set__  # type: ignore[union-attr]  # a descriptor, of the class
CANCELLED_ERROR = TaskError("Cancelled", "its session ended before it did")


def failure_of(session_id: str, task: TaskOutcome) -> TaskFailed:
    """A task that failed or was cancelled, as an error."""
    return TaskFailed(session_id, task.index, task.error or CANCELLED_ERROR)


def exception_of(session_id: str, task: TaskOutcome) -> BaseException:
    """What the callable raised, with the worker's traceback as its cause; TaskFailed if that is not to be had."""
    failure = failure_of(session_id, task)
    exception = failure.error.exception
    if exception is None:
        return failure
    _set_cause(exception, failure)
    return exception
