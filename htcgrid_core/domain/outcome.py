"""What a task came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.task_error import TaskError as TaskError


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """One task as a user sees it.

    Attributes:
        index: its place in the vector.
        state: where it is in its life.
        attempts: executions that ended, or were started if it is running.
        result: the handler's return value if COMPLETED.
        error: why its last attempt failed, if FAILED; in RETRY, in little, and so in RUNNING, of the attempt before,
            until something is known of what this one printed.
        started_at: wall clock (s) when the last attempt began; 0 if none did.
        duration_seconds: how long that attempt took.
        agent: the agent that ran it.
        stdout, stderr: what that attempt printed, first and last part; of one that was not the last, or still runs, the
            last.
    """

    index: int
    state: TaskState
    attempts: int = 0
    result: Any = None
    error: TaskError | None = None
    started_at: float = 0.0
    duration_seconds: float = 0.0
    agent: str = ""
    stdout: str = ""
    stderr: str = ""
