"""How many cores this process may use, of its machine and of what a container is given."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Cores this process may use, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota() or cores))


def _quota() -> int | None:
    """The cores that this container's time is worth, rounded up; None for no limit, or where there is no such thing."""
    try:
        if (unified := CGROUPS / "cpu.max").exists():
            limit, period = unified.read_text().split()
        else:
            limit, period = ((CGROUPS / "cpu" / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period"))
        microseconds = int(limit)  # "max" and -1 are none
        return -(-microseconds // int(period)) if microseconds > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
