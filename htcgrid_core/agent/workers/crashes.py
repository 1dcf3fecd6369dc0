"""What is charged to a task whose worker ended by itself, or was killed by nobody here."""

from __future__ import annotations

import signal

from htcgrid_core.agent.memory import KILLS, available_mb
from htcgrid_core.domain.task_error import OUT_OF_MEMORY, TaskError
from htcgrid_core.ports.worker import FunctionRef


def crash_of(returncode: int, function: FunctionRef, peak_mb: int, stderr: str) -> TaskError:
    """Why a worker ended, as far as that is known.

    Args:
        returncode: of its process, negative for a signal.
        peak_mb: the most memory that it had; 0 if nobody says.
    """
    text = f"the worker {how_it_ended(returncode)}"
    if returncode != -signal.SIGKILL:
        return TaskError("WorkerCrashed", text, stderr)
    limit = function.spec.memory_mb
    had = f"it had {limit:,} MiB" if limit else f"its agent has {available_mb():,} MiB in all"
    used = f", and it had used {peak_mb:,} MiB at most" if peak_mb else ""
    if KILLS.explain_one():
        advice = "a larger pool has more: RetryPolicy(on_out_of_memory=POOL)"
        return TaskError(OUT_OF_MEMORY, f"the worker was killed for memory: {had}{used}; {advice}", stderr)
    return TaskError("WorkerCrashed", f"{text} (out of memory?): {had}{used}", stderr)


def how_it_ended(returncode: int) -> str:
    """How a process ended, for people."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was killed by {name}"
