"""What the task of a worker waits for on the grid that runs it, as its agent is told."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Collection

from htcgrid_core.domain import limits

POLLS = 3  # looks at a session that goes on, after which a task waits for it


class Waiting:
    """See ``domain.this_worker.ThisWorker``."""

    def __init__(self, tell: Callable[[list[str]], None], is_refused: Callable[[], bool]) -> None:
        """A worker that runs nothing yet.

        Args:
            tell: tells its agent for which sessions the task that runs waits; none if it does not wait any more.
            is_refused: whether the agent has no worker to lend for that.
        """
        self.grid = ""
        self.is_loading = False
        self._tell, self._is_refused = tell, is_refused
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waits: dict[object, frozenset[str]] = {}  # by who waits
        self._polled: Counter[str] = Counter()
        self._told: list[str] = []

    @property
    def is_this_process(self) -> bool:
        """Whether it is not its child, which cannot speak for it."""
        return self._pid == os.getpid()

    def waits(self, who: object, session_ids: Collection[str]) -> bool:
        """Somebody in the task waits for these sessions, or for none any more; whether the agent has no worker left."""
        with self._lock:
            if session_ids:
                self._waits[who] = frozenset(session_ids)
            else:
                self._waits.pop(who, None)
            self._tell_news()
        return bool(session_ids) and self._is_refused()

    def looked(self, session_id: str, *, ended: bool) -> None:
        """The task has looked how far a session of its own grid is: again and again, it waits."""
        with self._lock:
            if ended:
                self._polled.pop(session_id, None)
            else:
                self._polled[session_id] += 1
            self._tell_news()

    def task_ended(self) -> None:
        """Whatever the task waited for, it does so no more."""
        with self._lock:
            self._polled.clear()
            self._told = []

    def _tell_news(self) -> None:
        polled = {session_id for session_id, looks in self._polled.items() if looks >= POLLS}
        waited = sorted(polled.union(*self._waits.values()))[: limits.PROGRESS_BATCH]
        if waited != self._told:
            self._told = waited
            self._tell(waited)
