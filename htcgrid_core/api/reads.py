"""Reads: sources that this server reads for requests, which are answered before the end of it where it takes long.

Whoever asks, asks again with the same request, and is told how far it is, or how it ended. What nobody asks for any
more is given up; what a server that dies has read is lost, and read again by the one that is asked then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from htcgrid_core.api.failure import Failure
from htcgrid_core.codecs.problems import KINDS
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.session import SessionRecord

AT_ONCE = 4
MOST = 64  # that run, wait for others, or have ended and were not told of yet
ABANDONED_SECONDS = 120.0  # after which nobody asks any more: who does, asks each 20 seconds
_LOOK_ROWS = 1000


class Read:
    """One source on its way into a session.

    Attributes:
        future: of the session's row.
        rows: read so far.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self.future: Future[SessionRecord] = Future()
        self.future.set_running_or_notify_cancel()  # who waits and goes takes nothing from others
        self.rows = 0
        self._stopping = stopping
        self.asked()

    def asked(self) -> None:
        """Somebody wants to know of it."""
        self._asked_at = time.monotonic()

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody does any more."""
        return time.monotonic() - self._asked_at > ABANDONED_SECONDS

    def check(self) -> None:
        """Whether to go on.

        Raises:
            GridUnavailable: the server stops, or nobody waits for this.
        """
        if self._stopping.is_set():
            raise GridUnavailable("the server is stopping: ask again, and another one reads the source")
        if self.is_abandoned:
            raise GridUnavailable("nobody asked for this session any more: ask again, and its source is read again")

    def counted(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Rows as they are read."""
        for row in rows:
            if self.rows % _LOOK_ROWS == 0:
                self.check()
            self.rows += 1
            yield row


class Reads:
    """All of a server. May be used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._stopping = threading.Event()
        self._under_way: dict[Hashable, Read] = {}

    def of(self, key: Hashable, work: Callable[[Read], SessionRecord]) -> Read:
        """The read that a request asks for, begun if it is not under way.

        Args:
            key: the same for the same request of the same principal.

        Raises:
            Failure: there are too many.
        """
        with self._lock:
            if (read := self._under_way.get(key)) is not None:
                read.asked()
                return read
            for other, old in list(self._under_way.items()):
                if old.future.done() and old.is_abandoned:
                    del self._under_way[other]
            if len(self._under_way) >= MOST:
                raise Failure(KINDS["grid-unavailable"], f"this server reads {MOST} sources already: ask again")
            read = self._under_way[key] = Read(self._stopping)
        # Not a pool's: its threads would hold up the end of the process until a database has answered.
        threading.Thread(target=self._run, args=(read, work), name="htcgrid-read", daemon=True).start()
        return read

    def told(self, key: Hashable, read: Read) -> None:
        """Somebody was told how it ended."""
        with self._lock:
            if self._under_way.get(key) is read:
                del self._under_way[key]

    def stop(self) -> None:
        """End what is under way, at its next rows."""
        self._stopping.set()

    def _run(self, read: Read, work: Callable[[Read], SessionRecord]) -> None:
        with self._slots:
            try:
                read.check()
                found = work(read)
            except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
                read.future.set_exception(error)
            else:
                read.future.set_result(found)
