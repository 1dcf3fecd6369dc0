"""AsyncSession: one session, watched and collected in an event loop."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal, TypeVar

from htcgrid_core.client.failed import session_failed
from htcgrid_core.client.pinned import with_spec_of
from htcgrid_core.client.progress import Progress, progress_of
from htcgrid_core.client.session import Session
from htcgrid_core.client.task_errors import gap_of
from htcgrid_core.client.waiting import timed_out
from htcgrid_core.codecs.tasks import decoded, task_of
from htcgrid_core.codecs.values import DECODERS
from htcgrid_core.domain import limits
from htcgrid_core.domain.audit import AuditEntry
from htcgrid_core.domain.costs import SessionCost
from htcgrid_core.domain.errors import GridError, InvalidInput, SessionFailed, WaitTimeout
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.notification import Notify
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.gateway.patience import AsyncPatience
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.gateway.reader import AsyncReader

T = TypeVar("T")

Wait = Callable[[SessionRecord, float | None], Awaitable[SessionRecord | None]]
Run = Callable[[Callable[[], Any]], Awaitable[Any]]


class AsyncSession:
    """One session of a grid, in one event loop.

    Args:
        session: the same, for those who may block.
        run: what a function returns that may block, from a thread.
        gateway: of its grid, for what runs in a thread.
    """

    __module__ = "htcgrid_core"

    def __init__(self, session: Session, reader: AsyncReader, run: Run, gateway: Gateway) -> None:
        self._session = session
        self._row: SessionRecord = session.record
        self._reader = reader
        self._run = run
        self._gateway = gateway
        self._patience = AsyncPatience()

    @property
    def id(self) -> str:
        """The session's id; ``await grid.session(id)`` comes back to it."""
        return self._session.id

    @property
    def spec(self) -> SessionSpec:
        """What was asked for; see ``Session.spec``."""
        return self._session.spec

    @property
    def _record(self) -> SessionRecord:
        return self._row

    @_record.setter
    def _record(self, row: SessionRecord) -> None:
        self._row = with_spec_of(self._row, row)

    @property
    def name(self) -> str:
        """The name given at submit."""
        return self._session.name

    @property
    def labels(self) -> dict[str, str]:
        """The labels given at submit."""
        return self._session.labels

    def __repr__(self) -> str:
        return f"<AsyncSession {self.id} {self.name!r} on {self._gateway.url}>"

    # Watching

    async def progress(self) -> Progress:
        """Where the session is now.

        Raises:
            SessionNotFound: its retention time has passed.
        """
        return progress_of(await self._refresh())

    async def done(self) -> bool:
        """Whether the session has ended."""
        return (await self._refresh()).ended

    async def wait(self, timeout: float | None = None) -> Progress:
        """Wait until the session has ended, in whatever state.

        As ``Session.wait`` does, this bears for a while that the grid cannot be read. A task that is cancelled while
        it waits leaves the session as it is.

        Args:
            timeout: seconds to wait at most; None for ever.

        Raises:
            WaitTimeout: the session goes on, but the time is over.
            GridUnavailable, CredentialsExpired: the grid could not be read for five minutes.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._record.ended:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0 and await self._is_still_running():
                raise await self._timed_out(f"goes on after {timeout:g} s")
            await self._next_look(self._reader.end, left)
        return progress_of(self._record)

    async def _timed_out(self, what: str) -> WaitTimeout:
        timeout: WaitTimeout = await self._run(lambda: timed_out(self.id, self._gateway, what))
        return timeout

    async def _is_still_running(self) -> bool:
        try:
            return not (await self._refresh()).ended
        except GridError as error:
            self._patience.bear(error)
            return True

    async def _next_look(self, wait: Wait, left: float | None) -> None:
        try:
            found = await wait(self._record, left)
            self._record = found or await self._reader.session(self.id)
        except GridError as error:
            self._patience.bear(error)
            await self._patience.rest(left)
        else:
            self._patience.rewarded()

    # Collecting

    async def results(self, *, errors: Literal["raise", "return"] = "raise") -> AsyncIterator[Any]:
        """Wait for the session, then yield each task's result in index order; see ``Session.results``.

        Raises:
            SessionFailed, TaskFailed: as there.
        """
        codec = self.spec.codec
        await self.wait()
        if errors == "raise" and self._record.state is not SessionState.COMPLETED:
            raise await self._failure()
        async for index, outcome in self._reader.outcomes(self._record):
            if outcome is not None and not outcome.failed:
                yield DECODERS[codec](outcome.payload)
                continue
            failure = gap_of(self.id, codec, index, outcome)
            if errors == "raise":
                raise failure
            yield failure

    async def _failure(self) -> SessionFailed:
        failed = list[TaskOutcome]()
        async for task in self.tasks(TaskState.FAILED):
            failed.append(task)
            if len(failed) == limits.FIRST_ERRORS:
                break
        failure: SessionFailed = await self._run(
            lambda: session_failed(self._gateway, self._record, self.spec.parent_id, failed)
        )
        return failure

    async def as_completed(self, timeout: float | None = None) -> AsyncIterator[TaskOutcome]:
        """Yield every task once, as it ends, while the session runs; tasks cancelled with it come last.

        Raises:
            WaitTimeout: the session has not ended within ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        seen, cursor = set[int](), 0
        while True:
            ended = self._record.ended  # read before the pages: what is committed later is seen by the next round
            try:
                async for page in self._reader.pages(self._record, cursor):
                    cursor = page.cursor
                    for outcome in page.outcomes:
                        seen.add(outcome.index)
                        yield task_of(self.spec, outcome, page.agent)
            except GridError as error:
                self._patience.bear(error)
                await self._patience.rest()
                continue
            if ended:
                break
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise await self._timed_out("has not ended")
            await self._next_look(self._reader.change, left)
        for index in range(self._record.counters.total):
            if index not in seen:
                yield TaskOutcome(index, TaskState.CANCELLED)

    async def tasks(self, state: str | TaskState | None = None) -> AsyncIterator[TaskOutcome]:
        """Tasks with their states, attempts, errors, times and output; see ``Session.tasks``."""
        try:
            wanted = None if state is None else TaskState(state)
        except ValueError:
            raise InvalidInput(f"{state!r} is not a task's state: {', '.join(TaskState)}") from None
        async for found in self._reader.tasks(await self._refresh(), wanted):
            for task in decoded(self.spec, found):
                yield task

    async def task(self, index: int) -> TaskOutcome:
        """One task by its index; see ``Session.task``."""
        found: TaskOutcome = await self._run(lambda: self._session.task(index))
        return found

    async def history(self) -> list[AuditEntry]:
        """Who did what to the session, oldest first."""
        found: list[AuditEntry] = await self._run(self._session.history)
        return found

    async def audit(self) -> list[AuditEntry]:
        """The same, with the addresses of those who asked a server."""
        found: list[AuditEntry] = await self._run(self._session.audit)
        return found

    async def cost(self) -> SessionCost:
        """Dollars of the session, and of what; so far, if it goes on."""
        found: SessionCost = await self._run(self._session.cost)
        return found

    # Ending

    async def adopt(self, owner: str, *, notify: Notify = None) -> Progress:
        """Make ``owner`` the one whose fenced cancel counts; see ``Session.adopt``."""
        found: Progress = await self._run(lambda: self._session.adopt(owner, notify=notify))
        return found

    async def cancel(self, reason: str = "cancelled by its user", *, owner: str | None = None) -> Progress:
        """Ask for the session's end and return at once; see ``Session.cancel``."""
        found: Progress = await self._run(lambda: self._session.cancel(reason, owner=owner))
        return found

    async def _refresh(self) -> SessionRecord:
        if not self._record.ended:
            self._record = await self._reader.session(self.id)
        return self._record
