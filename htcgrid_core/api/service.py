"""Service: what all requests of one server share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from htcgrid_core.api.auth.authenticator import Authenticator
from htcgrid_core.api.cutting import Cutter
from htcgrid_core.api.guard import Guard
from htcgrid_core.api.news import News
from htcgrid_core.api.rates import Rates
from htcgrid_core.api.streams import Streams
from htcgrid_core.gateway.served import ServedGrid

T = TypeVar("T")

THREADS = 16  # that wait for the grid's store; what is asked beyond that waits without one
BODY_SECONDS = 60.0  # in which the body of a request must come


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server behaves.

    Attributes:
        in_background: whether something of it runs between requests; not so in Lambda.
        page_bytes: of an answer that would be a stream; None to stream. Lambda's answers have 6 MB at most.
    """

    in_background: bool = True
    page_bytes: int | None = None
    body_seconds: float = BODY_SECONDS


@dataclass
class Service:
    """What all requests share. Made outside of the loop, and started in it."""

    grid: ServedGrid
    authenticator: Authenticator
    guard: Guard
    rates: Rates
    settings: Settings = Settings()
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, "htcgrid-api"))

    def __post_init__(self) -> None:
        self.stopping = asyncio.Event()
        self.streams = Streams(self.run, self.stopping)
        self.news = News(self.grid.gateway, self._run_progress)
        self.cutter = Cutter(self.grid)

    @property
    def body_seconds(self) -> float:
        """In which a body must come."""
        return self.settings.body_seconds

    async def run(self, function: Callable[[], T]) -> T:
        """What a function returns that may block."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function)

    async def _run_progress(self, function: Callable[..., T], *arguments: object) -> T:
        return await self.run(lambda: function(*arguments))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the server runs."""
        if self.settings.in_background:
            self.news.start()
            self.cutter.start()
        try:
            yield
        finally:
            self.stop_soon()
            if self.settings.in_background:
                await self.news.stop()
                await asyncio.to_thread(self.cutter.stop)
            self.threads.shutdown(wait=False, cancel_futures=True)

    def stop_soon(self) -> None:
        """Break off what waits and streams: clients go on elsewhere."""
        self.stopping.set()
