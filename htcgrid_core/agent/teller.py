"""Tells of sessions' ends beside an agent's loop, so that nobody who answers slowly holds up a task or a tick."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.telling import attempt, due, tell_session

THREADS = 8


class Teller:
    """A few threads, made when there is something to tell.

    ``ended`` tells of one session at once; ``look`` finds all that is due, whoever should have done it.
    """

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._pool: ThreadPoolExecutor | None = None
        self._looking = threading.Lock()

    def ended(self, record: SessionRecord) -> None:
        """Tell of a session that has just ended; most have nobody to be told, which costs nothing."""
        if record.notifies:
            self._begin(partial(tell_session, self._plane, record))

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
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _do_all(self) -> int:
        begun = [self._begin(action) for action in due(self._plane)]
        wait(begun)
        return len(begun)

    def _begin(self, action: Callable[[], None]) -> Future[None]:
        return self._in_pool().submit(attempt, action)

    def _in_pool(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS + 1, thread_name_prefix="htcgrid-tell")  # and one that looks
        return self._pool
