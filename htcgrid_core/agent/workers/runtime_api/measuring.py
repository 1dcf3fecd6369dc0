"""What an environment uses of memory and processors, looked up now and then: its process may have many threads."""

from __future__ import annotations

import time

from htcgrid_core.agent.workers.family import cpu_seconds, peak_mb
from htcgrid_core.ports.worker import Used

LOOK_SECONDS = 0.25  # between two looks; what ends meanwhile is told with the next


class Measuring:
    """Of one process and its descendants, which run one task at a time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._tasks = 0
        self._seconds = 0.0
        self._cpu: float | None = None
        self._looked_at = float("-inf")

    def begin(self) -> None:
        """It has loaded its function: what it took for that is no task's."""
        self._cpu = cpu_seconds(self._pid)

    def ended(self, slot: int, serial: int, seconds: float) -> Used | None:
        """A task has ended after so many seconds; what it and those before it used, if it is time to look."""
        self._tasks += 1
        self._seconds += seconds
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return None
        cpu, before = cpu_seconds(self._pid), self._cpu
        used = Used(
            slot, serial, self._tasks, float(peak_mb(self._pid) or 0),
            0.0 if before is None else max(0.0, cpu - before), self._seconds,
        )  # fmt: skip
        self._tasks, self._seconds, self._cpu, self._looked_at = 0, 0.0, cpu, now
        return used
