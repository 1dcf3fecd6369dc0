"""CPU time of this process and of those that it started, but for the emulator."""

from __future__ import annotations

import psutil

EMULATOR = "ministack"


def tree_used_s() -> float:
    """User and system seconds of all that live below this process, itself included."""
    own = psutil.Process()
    members = [own, *(child for child in own.children(recursive=True) if not _is_emulator(child))]
    return sum(used_s(member) for member in members)


def used_s(process: psutil.Process) -> float:
    """User and system seconds of one process and its reaped children."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _is_emulator(process: psutil.Process) -> bool:
    try:
        return any(EMULATOR in part for part in process.cmdline())
    except psutil.NoSuchProcess:
        return False
