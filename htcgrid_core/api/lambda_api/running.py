"""A session whose tasks are invocations: who waits for one of them is told when that one has ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from htcgrid_core.api.lambda_api.call import LambdaCall
from htcgrid_core.api.lambda_api.errors import LambdaError
from htcgrid_core.api.news import Watch
from htcgrid_core.api.service import Service
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.protocol import Gateway

GONE = "its caller has gone"
LOOK_SECONDS = 1.0  # between looks whether who asks is still there


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of an invocation: its outcome, or None if its session ended without one."""

    record: SessionRecord
    outcome: Outcome | None = None

    @property
    def was_left(self) -> bool:
        """Whether it did not run to its end since nobody waited for it any more."""
        return self.outcome is None and self.record.state is SessionState.CANCELLED and self.record.reason == GONE


class Callers:
    """For whom a session runs, as one server knows: also of calls that came again before their first callers had gone.

    Args:
        calls: how many share it.
    """

    def __init__(self, calls: int) -> None:
        self._left = Counter(range(calls))
        self._unanswered: set[int] = set()  # whose callers have gone

    def more(self, index: int) -> None:
        """One more waits for a call."""
        self._left[index] += 1

    def fewer(self, index: int, *, has_gone: bool) -> bool:
        """One less does, since he was answered or has gone; whether nobody wants the rest of the session any more."""
        self._left[index] -= 1
        if has_gone:
            self._unanswered.add(index)
        else:
            self._unanswered.discard(index)
        return bool(self._unanswered) and not any(self._left.values())


class Running:
    """One session, as one server follows it. Used in the event loop.

    Args:
        callers: for whom it runs. Once none of them waits any more it is cancelled: one task cannot be by itself.

    Attributes:
        answered: set when the first of them was told.
        seconds: that the longest of those took which were told last.
    """

    def __init__(self, service: Service, gateway: Gateway, record: SessionRecord, callers: Callers) -> None:
        self.record = record
        self.answered = asyncio.Event()
        self.seconds = 0.0
        self._service = service
        self._gateway = gateway
        self._callers = callers
        self._cursor = 0
        self._pending = -1  # tasks, at the last look
        self._waiting: dict[int, asyncio.Future[Ended]] = {}
        self._follower: asyncio.Task[None] | None = None

    async def ended(self, call: LambdaCall, index: int) -> Ended:
        """Wait for one task.

        Raises:
            LambdaError: its caller has gone, or the server stops.
        """
        future = self._waiting.setdefault(index, asyncio.get_running_loop().create_future())
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow())
        while not (await asyncio.wait([future], timeout=LOOK_SECONDS))[0]:
            if await call.request.is_disconnected():
                self._waiting.pop(index, None)
                await self._done(index, has_gone=True)
                raise LambdaError("ServiceException", GONE, 499)
        await self._done(index)
        return future.result()

    async def _done(self, index: int, *, has_gone: bool = False) -> None:
        """One caller less. If they are all answered or gone, nobody wants the rest."""
        if self._callers.fewer(index, has_gone=has_gone):
            await self._service.run(lambda: self._gateway.cancel(self.record.session_id, reason=GONE))

    async def _follow(self) -> None:
        """Tell those who wait, until nobody does."""
        try:
            with self._service.news.watch([self.record.session_id]) as watch:
                while self._waiting:
                    await self._look(watch)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            waiting, self._waiting = self._waiting, {}
            for future in waiting.values():
                future.set_exception(error)
        finally:
            self._follower = None

    async def _look(self, watch: Watch) -> None:
        """Wait for news, and tell what they are."""
        session_id = self.record.session_id
        await watch.next(None)
        if self._service.stopping.is_set():
            raise LambdaError("ServiceException", "the server is stopping", 503, "1")
        record = watch.records.get(session_id)
        if record is None:
            raise SessionNotFound(session_id)
        outcomes = await self._service.run(lambda: self._read(record))
        if outcomes:
            self.seconds = max(outcome.seconds for outcome in outcomes)
            self.answered.set()
        for outcome in outcomes:
            self._tell(outcome.index, Ended(record, outcome))
        if record.ended:
            for index in list(self._waiting):
                self._tell(index, Ended(record, None))

    def _read(self, record: SessionRecord) -> list[Outcome]:
        """What was committed since the last look."""
        found: list[Outcome] = []
        if record.counters.pending != self._pending:
            for page in self._gateway.pages(record, self._cursor):
                found += page.outcomes
                self._cursor = page.cursor
            self._pending = record.counters.pending
        return found

    def _tell(self, index: int, ended: Ended) -> None:
        future = self._waiting.pop(index, None)
        if future is not None:
            future.set_result(ended)
