"""What claims under way will bring, so that an agent makes several at once and still takes no more than it needs."""

from __future__ import annotations

from collections import Counter

from htcgrid_core.agent.lru import LruCache

SESSIONS = 10_000  # whose bundles' size is remembered


class PendingClaims:
    """Tasks expected of claims under way, by what the claims of their sessions brought so far."""

    def __init__(self) -> None:
        self._sizes: LruCache[str, int] = LruCache(SESSIONS)
        self._under_way: Counter[str] = Counter()

    def begin(self, session_id: str) -> None:
        """A claim of one of this session's bundles is made."""
        self._under_way[session_id] += 1

    def end(self, session_id: str, tasks: int) -> None:
        """It brought so many tasks."""
        self._under_way[session_id] -= 1
        if not self._under_way[session_id]:
            del self._under_way[session_id]
        if tasks:  # a small bundle, a retry perhaps, does not mean that the next one is small
            self._sizes.put(session_id, max(tasks, (self._sizes.get(session_id) or 0) // 2))

    @property
    def claims(self) -> int:
        """Claims under way."""
        return self._under_way.total()

    @property
    def tasks(self) -> float:
        """Expected tasks; without limit while it is not known how large a session's bundles are."""
        return sum(count * self._size(session_id) for session_id, count in self._under_way.items())

    def _size(self, session_id: str) -> float:
        return self._sizes.get(session_id) or float("inf")
