"""The long calls of a grid that is reached from this process, in threads: one for all who wait, and a few for reads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain.errors import GridError
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.protocol import Gateway

T = TypeVar("T")

OUTCOMES_AT_ONCE = 256  # of one change of threads
LISTEN_SECONDS = 1.0  # after which the listener sees that nobody waits any more
LOOK_SECONDS = 2.0  # after which whoever waits looks by himself: news may be lost


class ReaderInThreads:
    """See ``gateway.reader.AsyncReader``."""

    def __init__(self, gateway: Gateway, threads: ThreadPoolExecutor) -> None:
        self._gateway = gateway
        self._threads = threads
        self._bell = _Bell(gateway)

    async def session(self, session_id: str) -> SessionRecord:
        """One session's row."""
        return await self._run(lambda: self._gateway.session(session_id))

    async def change(self, seen: SessionRecord, timeout_seconds: float | None) -> SessionRecord | None:
        """Wait for any news of the grid."""
        await self._bell.rung(LOOK_SECONDS if timeout_seconds is None else min(timeout_seconds, LOOK_SECONDS))
        return None

    async def end(self, seen: SessionRecord, timeout_seconds: float | None) -> SessionRecord | None:
        """A bell does not say of what it rings."""
        return await self.change(seen, timeout_seconds)

    def pages(self, record: SessionRecord, cursor: int = 0) -> AsyncIterator[TaskPage]:
        """What was committed after ``cursor`` and until now."""
        return self._each(lambda: self._gateway.pages(record, cursor), 1)

    def outcomes(self, record: SessionRecord) -> AsyncIterator[tuple[int, Outcome | None]]:
        """Every task's outcome in index order."""
        return self._each(lambda: self._gateway.outcomes(record), OUTCOMES_AT_ONCE)

    def tasks(self, record: SessionRecord, state: TaskState | None = None) -> AsyncIterator[TaskPage | TaskOutcome]:
        """All tasks, or those in one state."""
        return self._each(lambda: self._gateway.tasks(record, state), 1)

    async def close(self) -> None:
        """Let the listener end."""
        self._bell.close()

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def _each(self, iterate: Callable[[], Iterator[T]], at_once: int) -> AsyncIterator[T]:
        iterator = await self._run(iterate)
        while some := await self._run(lambda: list(islice(iterator, at_once))):
            for one in some:
                yield one


class _Bell:
    """News of a grid, told in a loop by a thread that listens while somebody waits."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = threading.Lock()
        self._waiting: set[asyncio.Future[None]] = set()
        self._is_listening = False
        self._is_closed = False

    async def rung(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        news: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiting.add(news)
            if not self._is_listening:
                self._is_listening = True
                threading.Thread(target=self._listen, args=(loop,), name="htcgrid-bell", daemon=True).start()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news, seconds)
        finally:
            with self._lock:
                self._waiting.discard(news)

    def close(self) -> None:
        self._is_closed = True

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            with self._gateway.waiter() as waiter:
                while self._goes_on():
                    waiter.wait(LISTEN_SECONDS)
                    loop.call_soon_threadsafe(self._ring)
        except (GridError, RuntimeError):  # who waits looks by himself, and is told; or the loop has ended
            with self._lock:
                self._is_listening = False

    def _goes_on(self) -> bool:
        with self._lock:
            self._is_listening = bool(self._waiting) and not self._is_closed
            return self._is_listening

    def _ring(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        for news in waiting:
            if not news.done():
                news.set_result(None)
