"""How much memory there is, of this machine or of what a container is given, and how much this agent has taken."""

from __future__ import annotations

import os
from functools import lru_cache

from htcgrid_core.agent.cores import CGROUPS
from htcgrid_core.agent.workers.family import resident_bytes
from htcgrid_core.domain.agent import AgentMemory

_FILES = ("memory.max", "memory/memory.limit_in_bytes")  # of cgroups, version 2 and 1
_KILL_FILES = ("memory.events", "memory/memory.oom_control")


@lru_cache(1)
def available_mb() -> int:
    """For a worker that no session limits, in MiB; at least one."""
    return max(1, available_bytes() >> 20)


def available_bytes() -> int:
    """That this process and its workers may have together, now: a container may be given more while it runs."""
    return min(_physical_bytes(), _container_bytes())


def agent_memory() -> AgentMemory:
    """What this process and its workers take, and what they may: a few reads of /proc for each of them."""
    return AgentMemory(resident_bytes(os.getpid()), available_bytes())


class MemoryKills:
    """Processes of this agent's container that the kernel has killed for memory."""

    def __init__(self) -> None:
        self._explained = kills() or 0

    def explain_one(self) -> bool:
        """Whether one more was killed than were explained so; it is explained now."""
        count = kills()
        if count is None or count <= self._explained:
            return False
        self._explained += 1
        return True


def kills() -> int | None:
    """How many have been killed since the container began; None where nobody counts them."""
    for name in _KILL_FILES:
        try:
            lines = (CGROUPS / name).read_text().splitlines()
            return int(next(line.split()[1] for line in lines if line.split()[:1] == ["oom_kill"]))
        except (OSError, ValueError, IndexError, StopIteration):  # there is no such file, or it does not say
            continue
    return None


def _physical_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _container_bytes() -> int:
    for name in _FILES:
        try:
            return int((CGROUPS / name).read_text())
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return _physical_bytes()


KILLS = MemoryKills()  # there is one container
