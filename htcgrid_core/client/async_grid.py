"""AsyncGrid: a grid for code that runs in an event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import Any, Literal, TypeVar

from htcgrid_core.client.async_session import AsyncSession
from htcgrid_core.client.grid import Grid
from htcgrid_core.client.progress import Progress
from htcgrid_core.client.session import Session
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.domain.audit import AuditEntry
from htcgrid_core.domain.costs import CostReport, Estimate
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.gateway.opening import async_reader
from htcgrid_core.gateway.reader import AsyncReader

T = TypeVar("T")

THREADS = 8  # for what is short or computes; waits over HTTP take none


class AsyncGrid:
    """A connection to a grid, for one event loop; an asynchronous context manager, which connects when it is entered.

    What computes, as encoding events does, and calls that are short run in a few threads. Waits and streams of results
    hold none of them over HTTP; over ``local://`` and ``aws://`` one thread listens for all who wait.
    """

    __module__ = "htcgrid_core"

    def __init__(self, open_grid: Callable[[], Grid]) -> None:
        self._open = open_grid
        self._threads: ThreadPoolExecutor | None = None
        self._opened: tuple[Grid, AsyncReader] | None = None

    def __repr__(self) -> str:
        return f"<AsyncGrid {self._opened[0].url if self._opened else 'not connected'}>"

    async def __aenter__(self) -> AsyncGrid:
        self._threads = ThreadPoolExecutor(THREADS, "htcgrid-async")
        try:
            grid: Grid = await self._run(self._open)
        except BaseException:
            self._threads.shutdown(wait=False)
            raise
        self._opened = grid, async_reader(grid.gateway, self._threads)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        grid, reader = self._now
        await reader.close()
        await self._run(grid.close)
        assert self._threads is not None
        self._threads.shutdown(wait=False)
        self._opened = None

    @property
    def url(self) -> str:
        """The grid's URL."""
        return self._now[0].url

    @property
    def _now(self) -> tuple[Grid, AsyncReader]:
        if self._opened is None:
            raise InvalidInput("not connected: async with connect_async(url) as grid: ...")
        return self._opened

    async def _run(self, function: Callable[[], T]) -> T:
        context = copy_context()  # the current trace among others
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: context.run(function))

    def _session(self, found: Session) -> AsyncSession:
        grid, reader = self._now
        return AsyncSession(found, reader, self._run, grid.gateway)

    # Submitting

    async def submit(
        self, function: str | Callable[..., Any], events: Iterable[Any] | ServerSource, **options: Any
    ) -> AsyncSession:
        """Submit a session: one task for each event. Arguments and what is raised are those of ``Grid.submit``.

        The events are iterated in a thread. A caller that is cancelled meanwhile does not stop that: with a ``token``,
        whoever submits again gets the same session.
        """
        grid = self._now[0]
        return self._session(await self._run(lambda: grid.submit(function, events, **options)))

    async def resubmit(self, session: AsyncSession | str, **options: Any) -> AsyncSession:
        """Run again what failed or was cancelled in an ended session; see ``Grid.resubmit``."""
        grid, parent = self._now[0], session.id if isinstance(session, AsyncSession) else session
        return self._session(await self._run(lambda: grid.resubmit(parent, **options)))

    async def put(self, value: Any, *, codec: Literal["json", "pickle"] | None = None) -> SharedInput:
        """Store an input once for many tasks; see ``Grid.put``."""
        grid = self._now[0]
        return await self._run(lambda: grid.put(value, codec=codec))

    async def deploy(self, name: str, path: str | os.PathLike[str], **options: Any) -> FunctionVersion:
        """Package a folder or zip archive as the next version of a function; see ``Grid.deploy``."""
        grid = self._now[0]
        return await self._run(lambda: grid.deploy(name, path, **options))

    async def functions(self, name: str | None = None) -> list[FunctionVersion]:
        """The latest version of each function that is deployed; or all versions of one, oldest first."""
        grid = self._now[0]
        return await self._run(lambda: grid.functions(name))

    # Finding

    async def session(self, session_id: str) -> AsyncSession:
        """A session by its id.

        Raises:
            SessionNotFound: there is none.
        """
        grid = self._now[0]
        return self._session(await self._run(lambda: grid.session(session_id)))

    async def sessions(self, state: str | None = None, **filters: Any) -> list[AsyncSession]:
        """Sessions, newest first; see ``Grid.sessions``."""
        grid = self._now[0]
        found = await self._run(lambda: grid.sessions(state, **filters))
        return [self._session(one) for one in found]

    async def progress(self, session_ids: Sequence[str]) -> list[Progress]:
        """Progress of many sessions; unknown ones are left out."""
        grid = self._now[0]
        return await self._run(lambda: grid.progress(session_ids))

    async def audit(self, session_id: str | None = None, **filters: Any) -> list[AuditEntry]:
        """Who did what; see ``Grid.audit``."""
        grid = self._now[0]
        return await self._run(lambda: grid.audit(session_id, **filters))

    async def costs(self, **filters: Any) -> CostReport:
        """Dollars of sessions, day by day; see ``Grid.costs``."""
        grid = self._now[0]
        return await self._run(lambda: grid.costs(**filters))

    async def estimate(self, function: str, tasks: int, **options: Any) -> Estimate:
        """What a session would cost; see ``Grid.estimate``."""
        grid = self._now[0]
        return await self._run(lambda: grid.estimate(function, tasks, **options))

    async def measure(self) -> Measurement:
        """The grid's load."""
        return await self._run(self._now[0].measure)
