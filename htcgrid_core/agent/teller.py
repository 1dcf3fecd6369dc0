"""Tells of sessions' ends beside an agent's loop, so that nobody who answers slowly holds up a task or a tick."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait

from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.telling import BATCH, attempt, due, tell_sessions

THREADS = 8


class Teller:
    """A few threads, made when there is something to tell.

    ``ended`` tells of one session at once; ``look`` finds all that is due, whoever should have done it. Sessions that
    end while all threads are busy are told of together.

    Args:
        pool: instead of threads of its own.
    """

    def __init__(self, plane: Plane, pool: Executor | None = None) -> None:
        self._plane = plane
        self._pool = pool
        self._looking = threading.Lock()
        self._ended: deque[SessionRecord] = deque()
        self._closing = False

    def ended(self, record: SessionRecord) -> None:
        """Tell of a session that has just ended; most have nobody to be told, which costs nothing."""
        if record.notifies:
            self._ended.append(record)
            self._begin(self._tell_ended)

    def look(self) -> bool:
        """Begin to do what is due, and return; whether anything is still to be told, now or later.

        While the look before is under way, this one is left to it.
        """
        rows = self._plane.outbox.pending()
        if rows and self._looking.acquire(blocking=False):
            self._in_pool().submit(self._do_all).add_done_callback(lambda _: self._looking.release())
        return bool(rows)

    def tell_all(self) -> int:
        """Do all that is due, and return when it is done; how much that was."""
        return self._do_all()

    def close(self) -> None:
        """Wait for what is under way; what has not begun is left to others."""
        self._closing = True
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _tell_ended(self) -> None:
        records: list[SessionRecord] = []
        with contextlib.suppress(IndexError):  # another thread took the rest
            while len(records) < BATCH:
                records.append(self._ended.popleft())
        for action in tell_sessions(self._plane, records):
            if not self._closing:
                self._begin(action)

    def _do_all(self) -> int:
        begun = [self._begin(action) for action in due(self._plane)]
        wait(begun)
        return len(begun)

    def _begin(self, action: Callable[[], None]) -> Future[None]:
        return self._in_pool().submit(attempt, action)

    def _in_pool(self) -> Executor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS + 1, thread_name_prefix="htcgrid-tell")  # and one that looks
        return self._pool
