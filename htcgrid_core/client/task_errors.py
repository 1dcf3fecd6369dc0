"""What a task that has no result raises."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from pickle import PicklingError

from htcgrid_core.codecs.outcomes import Outcome, decode_error
from htcgrid_core.domain.errors import TaskFailed
from htcgrid_core.domain.outcome import TaskError, TaskOutcome
from htcgrid_core.domain.session import Codec
from htcgrid_core.domain.task_error import RESULT_MISFIT

# As Python does itself: the exception's own class may forbid it, or raise anything.
_set_cause = BaseException.__cause__.__set__  # type: ignore[union-attr]  # a descriptor, of the class
CANCELLED_ERROR = TaskError("Cancelled", "its session ended before it did")


class WorkerCrashed(TaskFailed, BrokenExecutor):
    """A task whose worker's process has ended under it, or whose agents have."""


class InvalidResult(TaskFailed, PicklingError):
    """A task whose result cannot be encoded, is too large, or is not what its function's schema says."""


class OutOfMemory(TaskFailed, MemoryError):
    """A task that ran out of memory: its message says how much it had, and had used, as far as that is known."""


_KINDS: dict[str, type[TaskFailed]] = {
    "WorkerCrashed": WorkerCrashed,
    "AgentLost": WorkerCrashed,
    "InvalidResult": InvalidResult,
    RESULT_MISFIT: InvalidResult,
}


def failure_of(session_id: str, index: int, error: TaskError | None) -> TaskFailed:
    """A task that failed or was cancelled (None), as an error that users of ``concurrent.futures`` know, too."""
    error = error or CANCELLED_ERROR
    kind = OutOfMemory if error.is_out_of_memory else _KINDS.get(error.type, TaskFailed)
    return kind(session_id, index, error)


def gap_of(session_id: str, codec: Codec, index: int, outcome: Outcome | None) -> TaskFailed:
    """What stands among results in the place of a task that has none."""
    error = None if outcome is None else decode_error(outcome.payload, signed=codec == "pickle")
    return failure_of(session_id, index, error)


def exception_of(session_id: str, task: TaskOutcome) -> BaseException:
    """What the callable raised, with the worker's traceback as its cause; TaskFailed if that is not to be had."""
    failure = failure_of(session_id, task.index, task.error)
    exception = failure.error.exception
    if exception is None:
        return failure
    _set_cause(exception, failure)
    return exception
