"""Sessions' rows as a process read them last, and what it has committed since.

Never more than was committed, or a session would end before its time: a commit is added to what was read before it
began only, since what was read later may have it already.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

from htcgrid_core.adapters.locked import locked, new_lock

SESSIONS = 4096  # that a process remembers
SMALL_RESULTS = 100  # of which it remembers what was committed

T = TypeVar("T")


class RowCache(Generic[T]):
    """What was read, by session; each read has a number.

    Args:
        most: sessions.
    """

    def __init__(self, most: int = SESSIONS) -> None:
        self._most = most
        self._lock = new_lock()
        self._numbers = count(1)
        self._found: dict[str, tuple[int, T]] = {}

    @locked
    def put(self, session_id: str, read: T) -> None:
        """What was read just now."""
        if len(self._found) >= self._most:
            self._found.clear()
        self._found[session_id] = next(self._numbers), read

    @locked
    def drop(self, session_id: str) -> None:
        """There is none any more."""
        self._found.pop(session_id, None)

    def get(self, session_id: str) -> T | None:
        """What is known; None if nothing is."""
        return self._found.get(session_id, (0, None))[1]

    def number(self, session_id: str) -> int:
        """The number of the read that it rests on."""
        return self._found.get(session_id, (0, None))[0]

    @locked
    def add(self, session_id: str, number: int, change: Callable[[T], T]) -> T | None:
        """What is known after a change; None, and no change, if it was read anew since it had that number."""
        now, known = self._found.get(session_id, (0, None))
        if known is None or now != number:
            return None
        changed = change(known)
        self._found[session_id] = number, changed
        return changed
