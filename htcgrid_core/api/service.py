"""Service: what all requests of one server share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from starlette.requests import Request

from htcgrid_core.api.auth.authenticator import Authenticator
from htcgrid_core.api.bodies import Bodies
from htcgrid_core.api.cutting import Cutter
from htcgrid_core.api.guard import Guard
from htcgrid_core.api.links import Link
from htcgrid_core.api.news import News
from htcgrid_core.api.operations import LARGEST_BODY
from htcgrid_core.api.rates import Rates
from htcgrid_core.api.reads import Reads
from htcgrid_core.api.streams import Streams
from htcgrid_core.api.whence import address_of
from htcgrid_core.data.served_sources import ServedSources
from htcgrid_core.gateway.machine import machine_digest
from htcgrid_core.gateway.served import ServedGrid

T = TypeVar("T")

REFUSED_SECONDS, REFUSED_KEPT = 60.0, 1000  # between two notes of the same refusal; refusals that are remembered

THREADS = 16  # that wait for the grid's store; what is asked beyond that waits without one
BODY_SECONDS = 60.0  # in which the body of a request must come


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server behaves.

    Attributes:
        in_background: whether something of it runs between requests; not so in Lambda.
        page_bytes: of an answer that would be a stream; None to stream. Lambda's answers have 6 MB at most.
        request_bytes: of a request's body, whatever is asked for.
        links: to what sessions belong to.
    """

    in_background: bool = True
    page_bytes: int | None = None
    request_bytes: int = LARGEST_BODY
    body_seconds: float = BODY_SECONDS
    links: tuple[Link, ...] = ()


@dataclass
class Service:
    """What all requests share. Made outside of the loop, and started in it.

    Attributes:
        sources: from which it reads events for others; None for none.
    """

    grid: ServedGrid
    authenticator: Authenticator
    guard: Guard
    rates: Rates
    settings: Settings = Settings()
    sources: ServedSources | None = None
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, "htcgrid-api"))

    def __post_init__(self) -> None:
        self.stopping = asyncio.Event()
        self.streams = Streams(self.run, self.stopping, self.settings.page_bytes)
        self.news = News(self.grid, self.run)
        self.cutter = Cutter(self.grid)
        self.reads = Reads()
        self.bodies = Bodies()
        self.machine = machine_digest()
        self._refused: dict[tuple[str, str], float] = {}

    @property
    def body_seconds(self) -> float:
        """In which a body must come."""
        return self.settings.body_seconds

    async def run(self, function: Callable[[], T]) -> T:
        """What a function returns that may block."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function)

    async def note(self, actor: str, request: Request, event: str, detail: str = "") -> None:
        """Add to the audit what somebody did on this server."""
        await self.run(partial(self.grid.note, actor, address_of(request), event, detail))

    async def note_refusal(self, actor: str, request: Request, what: str) -> None:
        """That somebody was refused what he may not; each once in a while, however often he tries."""
        now = time.monotonic()
        if len(self._refused) > REFUSED_KEPT:
            self._refused.clear()
        if now - self._refused.get((actor, what), float("-inf")) >= REFUSED_SECONDS:
            self._refused[actor, what] = now
            await self.note(actor, request, "refused", what)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the server runs."""
        self.news.start()
        if self.settings.in_background:
            self.cutter.start()
        try:
            yield
        finally:
            self.stop_soon()
            await self.news.stop()
            await asyncio.to_thread(self.cutter.stop)
            self.threads.shutdown(wait=False, cancel_futures=True)

    def stop_soon(self) -> None:
        """Break off what waits and streams: clients go on elsewhere."""
        self.stopping.set()
        self.reads.stop()
        self.news.wake_all()
