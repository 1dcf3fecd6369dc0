"""Why an attempt of a task failed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why an attempt failed, in the terms of Lambda's error bodies.

    Attributes:
        type: the exception's class name, or one of ours: TaskTimeout, WorkerCrashed, InitError, AgentLost,
            InvalidResult, CorruptPayload, Cancelled.
        message: one sentence.
        traceback: the handler's traceback, or an empty string.
        exception: what a Python callable raised, where it could be pickled.
    """

    __module__ = "htcgrid_core"  # in pickles: the public name, wherever its file is

    type: str
    message: str
    traceback: str = ""
    exception: BaseException | None = None
