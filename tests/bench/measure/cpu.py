"""CPU time of everything a case started: client, servers, workers, and children that have ended.

A case runs below a supervisor that adopts orphans (see ``supervise``), so even a detached daemon stays in one
tree. Summing own and reaped-children time over that tree gives a number that a child's end does not change:
what it used moves from its own row into its parent's.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

import psutil


def tree(root_pid: int, without: str = "") -> list[psutil.Process]:
    """The process and all its living descendants; this process comes last.

    Args:
        without: not those whose command line holds this.
    """
    root = psutil.Process(root_pid)
    members = [root, *root.children(recursive=True)]
    if without:
        members = [member for member in members if not _is(member, without)]
    return sorted(members, key=lambda member: member.pid == os.getpid())


def _is(process: psutil.Process, name: str) -> bool:
    try:
        return any(name in part for part in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def used_s(process: psutil.Process) -> float:
    """User and system seconds of one process and of its reaped children."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def tree_used_s(root_pid: int, without: str = "") -> float:
    """CPU seconds of a whole tree since it began, but for those processes whose command line holds ``without``."""
    return sum(used_s(member) for member in tree(root_pid, without))


class CpuMeter:
    """``with CpuMeter() as meter: ...`` leaves the CPU seconds of the case's tree in ``meter.seconds``."""

    def __init__(self, root_pid: int | None = None) -> None:
        """Measure the tree below ``root_pid``, by default that of this process's supervisor."""
        self.root_pid = os.getppid() if root_pid is None else root_pid
        self.seconds = 0.0
        self._before_s = 0.0

    def __enter__(self) -> Self:
        """Read the tree before the work."""
        self._before_s = tree_used_s(self.root_pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read the tree after the work."""
        self.seconds = tree_used_s(self.root_pid) - self._before_s
