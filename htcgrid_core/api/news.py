"""News: one watcher for all who wait. It listens to the grid's doorbell and reads the sessions that are waited for."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.served import ServedGrid

Run = Callable[..., Awaitable[Any]]
_log = logging.getLogger(__name__)

LISTEN_SECONDS = 1.0  # in which a listener sees that nobody waits any more, or that the server stops
RING_SECONDS = 0.9 * limits.CLIENT_POLL_SECONDS  # a wait that was shorter has heard a bell
REST_SECONDS = 0.001  # between two looks, at least; and as long as the last one took
SESSIONS_A_SECOND = 500  # that are looked at when no bell rings
FIRST_SECONDS = 20.0  # in which what is new must have been read


class Watch:
    """Some sessions that one client waits for: a context manager.

    Attributes:
        records: what was last seen of those that are there, by id.
        failures: why some could not be read, when that was last tried, by id.
    """

    def __init__(self, news: News, session_ids: Collection[str]) -> None:
        self._news = news
        self.session_ids = frozenset(session_ids)
        self.records: dict[str, SessionRecord] = {}
        self.unread = set(self.session_ids)
        self.changed = asyncio.Event()
        self.failures: dict[str, Exception] = {}

    def __enter__(self) -> Watch:
        self._news._add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._news._remove(self)

    async def first(self) -> None:
        """Until all of them were read once.

        Raises:
            GridUnavailable: that takes too long. Exception: one cannot be read.
        """
        deadline = time.monotonic() + FIRST_SECONDS
        while self.unread:
            if not await self.next(max(0.0, deadline - time.monotonic())):
                raise GridUnavailable(f"the sessions could not be read in {FIRST_SECONDS:.0f} seconds: ask again")

    async def next(self, timeout_seconds: float | None) -> bool:
        """Until something has changed; False if the time is over.

        Raises:
            Exception: one of them was never read, and cannot be.
        """
        try:
            await asyncio.wait_for(self.changed.wait(), timeout_seconds)
        except TimeoutError:
            return False
        self.changed.clear()
        for failure in self.failures.values():
            raise failure
        return True


class News:
    """Changes of sessions, told to all who watch them. Used in one event loop.

    Args:
        run: runs a function that may block, elsewhere.
    """

    def __init__(self, grid: ServedGrid, run: Run) -> None:
        self._grid = grid
        self._run = run
        self._watches: defaultdict[str, set[Watch]] = defaultdict(set)
        self._everything: set[Watch] = set()
        self._new: set[str] = set()
        self._due = asyncio.Event()
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._thread: threading.Thread | None = None
        self._looked_at = -1
        self._failing: set[str] = set()  # of which the log has told
        self.count = 0  # of rings

    def start(self) -> None:
        """Begin, in the loop that runs."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._look())]
        self._thread = threading.Thread(target=self._listen, args=(loop,), name="htcgrid-news", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._wanted.set()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        thread = self._thread
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, thread.join)

    def wake_all(self) -> None:
        """Let all who wait look around: the server stops."""
        for watch in {*self._everything, *chain.from_iterable(self._watches.values())}:
            watch.changed.set()

    def watch(self, session_ids: Collection[str]) -> Watch:
        """Some sessions; none for every ring."""
        return Watch(self, session_ids)

    def _add(self, watch: Watch) -> None:
        for session_id in watch.session_ids:
            self._watches[session_id].add(watch)
            self._new.add(session_id)
        if not watch.session_ids:
            self._everything.add(watch)
        self._wanted.set()
        if self._new:
            self._due.set()

    def _remove(self, watch: Watch) -> None:
        self._everything.discard(watch)
        for session_id in watch.session_ids:
            self._watches[session_id].discard(watch)
            if not self._watches[session_id]:
                del self._watches[session_id]
                self._failing.discard(session_id)
        if not self._watches and not self._everything:
            self._wanted.clear()

    # In a thread of its own: the bell

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopping.is_set():
            self._wanted.wait()
            try:
                with self._grid.gateway.waiter() as waiter:
                    while self._wanted.is_set() and not self._stopping.is_set():
                        began = time.monotonic()
                        waiter.wait(LISTEN_SECONDS)
                        heard = time.monotonic() - began < RING_SECONDS
                        with suppress(RuntimeError):  # the loop has ended
                            loop.call_soon_threadsafe(self._rung, heard)
            except Exception as error:  # noqa: BLE001 - whatever it is, others wait, and it may pass
                _log.warning("the grid's bell cannot be heard: %s: %s", type(error).__name__, error)
                self._stopping.wait(LISTEN_SECONDS)

    def _rung(self, heard: bool) -> None:
        if heard:
            self.count += 1
            for watch in self._everything:
                watch.changed.set()
        if self._watches:
            self._due.set()

    # In the loop: looks

    async def _look(self) -> None:
        slow = 0.0
        while True:
            await self._due.wait()
            self._due.clear()
            began, count = time.monotonic(), self.count
            new, self._new = self._new, set()
            everything = count != self._looked_at or began >= slow
            wanted = list(self._watches) if everything else [one for one in new if one in self._watches]
            self._looked_at = count
            for at in range(0, len(wanted), limits.PROGRESS_BATCH):
                await self._read(wanted[at : at + limits.PROGRESS_BATCH])
            took = time.monotonic() - began
            if everything:  # what is new is looked at once, and what it waits for may come right then
                slow = began + max(limits.CLIENT_POLL_SECONDS / 2, len(wanted) / SESSIONS_A_SECOND)
                await asyncio.sleep(max(REST_SECONDS, took))

    async def _read(self, session_ids: Sequence[str]) -> None:
        """Look at some. One that cannot be read fails alone: what others wait for goes on."""
        try:
            found = await self._run(partial(self._grid.progress, session_ids))
        except Exception as error:  # noqa: BLE001 - this is the only one who looks, and must never end
            if len(session_ids) == 1 or isinstance(error, GridUnavailable):
                self._fail(error, session_ids)
                return
            for session_id in session_ids:
                await self._read([session_id])
        else:
            self._tell(session_ids, {record.session_id: record for record in found})

    def _tell(self, asked: Collection[str], found: dict[str, SessionRecord]) -> None:
        self._failing.difference_update(asked)
        for session_id in asked:
            record = found.get(session_id)
            for watch in tuple(self._watches.get(session_id, ())):
                watch.failures.pop(session_id, None)
                if session_id in watch.unread or watch.records.get(session_id) != record:
                    watch.unread.discard(session_id)
                    if record is None:
                        watch.records.pop(session_id, None)
                    else:
                        watch.records[session_id] = record
                    watch.changed.set()

    def _fail(self, error: Exception, wanted: Collection[str]) -> None:
        """Those who have not seen them yet are told; the others go on waiting."""
        for session_id in wanted:
            watches = tuple(self._watches.get(session_id, ()))
            if watches and session_id not in self._failing and not isinstance(error, GridUnavailable):
                self._failing.add(session_id)
                _log.warning("session %s cannot be read: %s: %s", session_id, type(error).__name__, error)
            for watch in watches:
                if session_id in watch.unread:
                    watch.failures[session_id] = error
                    watch.changed.set()
