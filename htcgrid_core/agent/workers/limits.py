"""The limits of a worker process."""

from __future__ import annotations

import ctypes
import resource
import signal
import sys

from htcgrid_core.agent.signals import reset_signals

FILE_BYTES = 16 << 30
PROCESSES = 8192


def _lower(limit: int, value: int) -> None:
    soft, hard = resource.getrlimit(limit)
    bounds = [bound for bound in (soft, hard, value) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(limit, (min(bounds), hard))


def confine(memory_mb: int) -> None:
    """Set the limits of this process, ignore no signal that its agent ignores, and die with the agent."""
    reset_signals()
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, FILE_BYTES)
    _lower(resource.RLIMIT_NPROC, PROCESSES)
    if memory_mb:
        # On Linux RLIMIT_DATA counts what is written to, RLIMIT_AS also what numpy merely reserves.
        _lower(resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS, memory_mb << 20)
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
