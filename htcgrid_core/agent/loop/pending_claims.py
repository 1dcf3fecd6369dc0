"""What claims under way will bring, so that an agent makes several at once and still takes no more than it needs."""

from __future__ import annotations

from htcgrid_core.agent.lru import LruCache
from htcgrid_core.ports.bundle_queue import Hint

SESSIONS = 10_000  # whose bundles' size is remembered


class PendingClaims:
    """Tasks expected of claims under way: those that the hint told, or by what its session's claims brought so far."""

    def __init__(self) -> None:
        self._sizes: LruCache[str, int] = LruCache(SESSIONS)
        self._under_way: dict[str, int] = {}  # by session, those of which the hint told nothing
        self._told_claims = self._told_tasks = 0

    def begin(self, hint: Hint) -> None:
        """A claim of the hinted bundle is made."""
        if hint.tasks:
            self._told_claims += 1
            self._told_tasks += hint.tasks
        else:
            self._under_way[hint.session_id] = self._under_way.get(hint.session_id, 0) + 1

    def end(self, hint: Hint, tasks: int) -> None:
        """It brought so many tasks."""
        session_id = hint.session_id
        if hint.tasks:
            self._told_claims -= 1
            self._told_tasks -= hint.tasks
        else:
            self._under_way[session_id] -= 1
            if not self._under_way[session_id]:
                del self._under_way[session_id]
        if tasks:  # a small bundle, a retry perhaps, does not mean that the next one is small
            self._sizes.put(session_id, max(tasks, (self._sizes.get(session_id) or 0) // 2))

    @property
    def claims(self) -> int:
        """Claims under way."""
        return self._told_claims + sum(self._under_way.values())

    @property
    def tasks(self) -> float:
        """Expected tasks; without limit while it is not known how large a session's bundles are."""
        if not self._under_way:
            return self._told_tasks
        return self._told_tasks + sum(count * self._size(session_id) for session_id, count in self._under_way.items())

    def _size(self, session_id: str) -> float:
        return self._sizes.get(session_id) or float("inf")
