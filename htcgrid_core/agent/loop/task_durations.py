"""How long tasks of a session take here, and their results' way: what chunks, backlog and shares are sized by."""

from __future__ import annotations

from htcgrid_core.agent.lru import LruCache
from htcgrid_core.domain import limits

WEIGHT = 0.25  # of the newest measurement
SESSIONS = 10_000  # whose durations are remembered


class TaskDurations:
    """Exponentially weighted seconds a task, by session."""

    def __init__(self) -> None:
        self._seconds: LruCache[str, float] = LruCache(SESSIONS)

    def record(self, session_id: str, mean_seconds: float) -> None:
        """Take in the mean duration of some tasks that ended."""
        before = self._seconds.get(session_id)
        self._seconds.put(session_id, mean_seconds if before is None else before + WEIGHT * (mean_seconds - before))

    def expected(self, session_id: str) -> float | None:
        """Expected seconds of one task; None before the first ended."""
        return self._seconds.get(session_id)

    def chunk(self, session_id: str) -> int:
        """Tasks to hand to a worker at once: one until the first has ended."""
        seconds = self._seconds.get(session_id)
        if seconds is None:
            return 1
        return max(1, min(limits.MAX_BUNDLE_TASKS, int(limits.CHUNK_SECONDS / max(seconds, 1e-7))))
