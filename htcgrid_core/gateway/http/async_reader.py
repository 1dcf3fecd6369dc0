"""The long calls over HTTP, in an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.codecs.wire import Tasks, ordered_of, results_of, version_of
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.patience import PASSING
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.http import asks
from htcgrid_core.gateway.http.asks import LONGEST_WAIT_SECONDS
from htcgrid_core.gateway.http.async_transport import AsyncTransport
from htcgrid_core.gateway.http.kept import Kept
from htcgrid_core.gateway.http.pickles import Pickles
from htcgrid_core.gateway.http.reading import stream
from htcgrid_core.gateway.patience import AsyncPatience


class HttpReader:
    """See ``gateway.reader.AsyncReader``."""

    def __init__(self, transport: AsyncTransport, pickles: Pickles) -> None:
        self._transport = transport
        self._pickles = pickles
        self._results: Kept[bytes] = Kept()

    async def session(self, session_id: str) -> SessionRecord:
        """One session's row."""
        return await self._transport.ask(asks.session(session_id))

    async def change(self, seen: SessionRecord, timeout_seconds: float | None) -> SessionRecord | None:
        """Wait in a long poll."""
        versions = {seen.session_id: version_of(seen)}
        return await self._waited(asks.wait_for_change(versions, None, _at_most(timeout_seconds)))

    async def end(self, seen: SessionRecord, timeout_seconds: float | None) -> SessionRecord | None:
        """Wait in a long poll."""
        return await self._waited(asks.wait_for_end(seen.session_id, _at_most(timeout_seconds)))

    async def _waited(self, ask: asks.Ask[asks.Waited]) -> SessionRecord | None:
        waited = await self._transport.ask(ask, bear_seconds=0.0)
        record = next(iter(waited.records), None)
        if record is not None and waited.results is not None:
            self._results.keep(record.session_id, waited.results)
        return record

    async def pages(self, record: SessionRecord, cursor: int = 0) -> AsyncIterator[TaskPage]:
        """What was committed after ``cursor`` and until now."""
        async for page in self._paged(record, "outcomes", cursor=str(cursor)):
            assert isinstance(page, TaskPage)
            yield page

    async def outcomes(self, record: SessionRecord) -> AsyncIterator[tuple[int, Outcome | None]]:
        """Every task's outcome in index order; what breaks off is taken up again behind the last one."""
        if (came := self._results.take(record.session_id)) is not None:
            for item in self._pickles.ordered(record, results_of(came)):
                yield item
            return
        patience, begin = AsyncPatience(), 0
        while True:
            more = None
            try:
                async for found in self._transport.frames(stream(record.session_id, "results", start=begin)):
                    if isinstance(found, str):
                        more = found
                        continue
                    for item in self._pickles.ordered(record, ordered_of(found.body)):
                        begin += 1
                        yield item
                    patience.rewarded()
            except PASSING as error:
                patience.bear(error)
                await patience.rest()
            else:
                if more is None:
                    return
                begin = int(more)

    async def tasks(
        self, record: SessionRecord, state: TaskState | None = None
    ) -> AsyncIterator[TaskPage | TaskOutcome]:
        """All tasks, or those in one state."""
        async for found in self._paged(record, "tasks", state=state):
            yield found

    async def _paged(self, record: SessionRecord, what: str, **query: Any) -> AsyncIterator[TaskPage | TaskOutcome]:
        read = Tasks()
        more = True
        while more:
            more = False
            async for found in self._transport.frames(stream(record.session_id, what, **query)):
                if isinstance(found, str):
                    query["cursor"], more = found, True
                    continue
                for one in read.of(found):
                    yield self._pickles.page(record, one)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._transport.close()


def _at_most(timeout_seconds: float | None) -> float:
    longest = LONGEST_WAIT_SECONDS
    return longest if timeout_seconds is None else max(0.0, min(timeout_seconds, longest))
