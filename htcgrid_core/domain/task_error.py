"""Why an attempt of a task failed."""

from __future__ import annotations

from dataclasses import dataclass

OUT_OF_MEMORY = "OutOfMemory"  # of a worker that was killed for memory, or had too little for all but the handler

RESULT_MISFIT = "ResultMisfit"  # of a task that returned what its function's schema does not allow: never tried again


def ran_out_of_memory(error_type: str) -> bool:
    """Whether an error's type says so: ours, or an exception's, such as Python's, NumPy's or Java's."""
    name = error_type.rpartition(".")[2]
    return name == OUT_OF_MEMORY or name.endswith("MemoryError")


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why an attempt failed, in the terms of Lambda's error bodies.

    Attributes:
        type: the exception's class name, or one of ours: TaskTimeout, WorkerCrashed, InitError, AgentLost,
            InvalidResult, ResultMisfit, CorruptPayload, OutOfMemory, Cancelled.
        message: one sentence.
        traceback: the handler's traceback, or an empty string.
        exception: what a Python callable raised, where it could be pickled.
    """

    __module__ = "htcgrid_core"  # in pickles: the public name, wherever its file is

    type: str
    message: str
    traceback: str = ""
    exception: BaseException | None = None

    @property
    def is_out_of_memory(self) -> bool:
        """Whether more memory would have helped."""
        return ran_out_of_memory(self.type)

    @property
    def text(self) -> str:
        """Type and message, as a traceback ends."""
        return f"{self.type}: {self.message}" if self.message else self.type
