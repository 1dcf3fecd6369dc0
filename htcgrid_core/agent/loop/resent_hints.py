"""The hints that an agent has sent again lately, so that stale messages do not breed.

Each message of a bundle that is done asks for its children's messages to be sent again, and each copy of theirs asks
for that of their own children. Where there are many copies, an agent would send more than it takes.
"""

from __future__ import annotations

from collections.abc import Sequence

from htcgrid_core.agent.lru import SharedLruCache
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.clock import Clock

HINTS = 10_000  # that are remembered


class ResentHints:
    """Hints that this agent has sent again within the last ``seconds``. May be used from many threads.

    One that is lost all the same is sent again by the reconciler.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._at: SharedLruCache[tuple[str, str], float] = SharedLruCache(HINTS)

    def not_recent(self, hints: Sequence[Hint]) -> list[Hint]:
        """Those of the hints that were not sent again lately, and now are."""
        now = self._clock.monotonic()
        due = [hint for hint in hints if now - (self._at.get(_key(hint)) or float("-inf")) >= self._seconds]
        for hint in due:
            self._at.put(_key(hint), now)
        return due


def _key(hint: Hint) -> tuple[str, str]:
    return hint.session_id, hint.bundle_id
