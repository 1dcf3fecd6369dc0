"""The gateway over HTTP, to a server that has the grid's key and credentials in its client's place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from htcgrid_core.codecs.buffers import Data, joined
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.packages import Packed
from htcgrid_core.codecs.shared import FILE, SharedInput
from htcgrid_core.codecs.submission import Submission
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.codecs.wire import results_of
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.audit import AuditEntry, AuditPage
from htcgrid_core.domain.costs import CostReport, Estimate, SessionCost
from htcgrid_core.domain.destination import Destination, check_destination
from htcgrid_core.domain.ended import EndedPage
from htcgrid_core.domain.errors import FunctionNotFound, GridError, InvalidInput, SessionNotFound
from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.function import REGISTERED_NAME, FunctionVersion
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.notification import Notification, Recipient
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.domain.session import SESSION_ID, SessionRecord, SessionSpec, tenant_of
from htcgrid_core.gateway.checks import check_no_region, check_session_id
from htcgrid_core.gateway.description import GridDescription
from htcgrid_core.gateway.file_digest import digest_of
from htcgrid_core.gateway.http import asks, reading
from htcgrid_core.gateway.http.address import Address, ApiToken
from htcgrid_core.gateway.http.asks import Ask
from htcgrid_core.gateway.http.direct_parts import DirectPut, Storage
from htcgrid_core.gateway.http.pickles import Pickles
from htcgrid_core.gateway.http.retries import BEAR_SECONDS
from htcgrid_core.gateway.http.submitting import Step, Steps, steps
from htcgrid_core.gateway.http.transport import Transport
from htcgrid_core.gateway.http.waiter import FirstSeen, HttpWaiter
from htcgrid_core.gateway.in_tasks import check_not_importing

if TYPE_CHECKING:
    from htcgrid_core.gateway.http.async_reader import HttpReader

T = TypeVar("T")

LISTED_AT_ONCE = 1000
SHARED_CODECS = ("bytes", "json", "pickle")


class HttpGateway:
    """See ``gateway.protocol.Gateway``.

    Args:
        allow_pickle: whether pickled results of this server are loaded, which lets it run code here.

    Raises:
        AccessDenied: the server does not know the token, or does not prove who it is.
        GridUnavailable: it cannot be reached.
    """

    def __init__(self, address: Address, token: ApiToken, *, allow_pickle: bool = False) -> None:
        self.url = address.url
        self._transport = Transport(address, token)
        self._storage = Storage()
        self._token = token
        self._first_seen = FirstSeen()
        self._pickles = Pickles(address.url, are_allowed=allow_pickle)
        self._description, self._described_at = self._described(), time.monotonic()

    # The grid

    def describe(self) -> GridDescription:
        """What is to be known before a submit; asked for once in a heartbeat."""
        if time.monotonic() - self._described_at >= limits.HEARTBEAT_SECONDS:
            self._description, self._described_at = self._described(), time.monotonic()
        return self._description

    def _described(self) -> GridDescription:
        told = self._transport.ask(asks.grid(self.url))
        self._transport.request_bytes = told.request_bytes
        return told if self._pickles.are_allowed else told.without_pickles()

    def wake(self) -> None:
        """Make sure that agents run: the server does, at each of its looks."""
        self._transport.ask(asks.grid(self.url))

    def agents(self) -> list[AgentRecord]:
        """What agents that are alive last said of themselves."""
        return self._transport.ask(asks.agents())

    def measure(self) -> Measurement:
        """The grid's load."""
        return self._transport.ask(asks.load())

    def silent(self) -> list[str]:
        """There is one grid, which answers or does not."""
        return []

    def close(self) -> None:
        """Let go of the connections."""
        self._transport.close()
        self._storage.close()

    def async_reader(self) -> HttpReader:
        """The long calls to the same server, for an event loop."""
        from htcgrid_core.gateway.http.async_reader import HttpReader  # asyncio is of no use to others
        from htcgrid_core.gateway.http.async_transport import AsyncTransport

        return HttpReader(AsyncTransport(self._transport.address, self._token), self._pickles)

    # Sessions

    def submit(
        self,
        session_id: str,
        spec: SessionSpec,
        events: Iterable[EncodedEvent],
        *,
        total: int | None,
        idempotent: bool,
        durable: bool = True,
        on_progress: Callable[[int], None] | None = None,
        notify: Sequence[Recipient] = (),
        validate: Extent = "all",
    ) -> SessionRecord:
        """Submit a session. Its id makes every submission idempotent, and so it is tried again."""
        check_not_importing()
        check_session_id(session_id, spec.tenant)
        submission = Submission(session_id, spec, total, durable, False, tuple(notify), validate=validate)
        taken = steps(
            submission, events, on_progress, self._transport.request_bytes, takes_parts=self.describe().takes_parts
        )
        try:
            step, bear_seconds = next(taken)
            while True:
                if isinstance(step, DirectPut):
                    step, bear_seconds = self._put(step, taken)
                else:
                    step, bear_seconds = taken.send(self._answered(step, bear_seconds, taken))
        except StopIteration as over:
            return self._noted(over.value)

    def submit_from(
        self,
        session_id: str,
        spec: SessionSpec,
        source: ServerSource,
        *,
        on_progress: Callable[[int], None] | None = None,
        notify: Sequence[Recipient] = (),
        validate: Extent = "all",
    ) -> SessionRecord:
        """Submit a session whose events the server reads: it is asked again until it has."""
        check_not_importing()
        if source.once is None:
            check_session_id(session_id, spec.tenant)
        named = session_id if source.once is None else ""
        submission = Submission(named, spec, recipients=tuple(notify), source=source, validate=validate)
        ask = asks.submit_from(submission)
        while True:
            told = self._transport.ask(ask, BEAR_SECONDS)
            if isinstance(told, SessionRecord):
                if on_progress is not None:
                    on_progress(told.counters.total)
                return self._noted(told)
            if on_progress is not None:
                on_progress(told)

    def _put(self, part: DirectPut, taken: Steps) -> Step:
        try:
            self._storage.put(part)
        except GridError as error:
            return taken.throw(error)
        except BaseException:
            taken.close()
            raise
        return taken.send(None)

    def _answered(self, ask: Ask[Any], bear_seconds: float, taken: Steps) -> Any:
        try:
            return self._transport.ask(ask, bear_seconds)
        except BaseException:
            taken.close()
            raise

    def resubmit(
        self,
        session_id: str,
        parent_id: str,
        *,
        idempotent: bool,
        traceparent: str = "",
        tracestate: str = "",
        notify: Sequence[Recipient] = (),
        region: str | None = None,
    ) -> SessionRecord:
        """Submit the tasks of an ended session that are not COMPLETED."""
        check_not_importing()
        check_no_region(region, self.url)
        check_session_id(session_id, tenant_of(parent_id))
        ask = asks.resubmit(session_id, _known_id(parent_id), traceparent, tracestate, notify)
        return self._noted(self._transport.ask(ask))

    def session(self, session_id: str) -> SessionRecord:
        """One session's row."""
        record = self._first_seen.ended.take(session_id)
        return record or self._noted(self._transport.ask(asks.session(_known_id(session_id))))

    def progress(self, session_ids: Sequence[str]) -> list[SessionRecord]:
        """Rows of up to a hundred sessions."""
        if len(session_ids) > limits.PROGRESS_BATCH:
            raise InvalidInput(f"progress of {len(session_ids)} sessions in one call: ask for {limits.PROGRESS_BATCH}")
        wanted = [session_id for session_id in session_ids if SESSION_ID.fullmatch(session_id)]
        return [self._noted(record) for record in self._transport.ask(asks.progress(wanted))] if wanted else []

    def sessions(
        self, *, states: Sequence[SessionState] = (), limit: int = 100, before: float | None = None
    ) -> list[SessionRecord]:
        """Rows, newest first."""
        found: list[SessionRecord] = []
        cursor: str | None = None
        while limit > len(found):
            at_once = min(limit - len(found), LISTED_AT_ONCE)
            page, cursor = self._transport.ask(asks.sessions(states, at_once, before, cursor))
            found += page
            if cursor is None:
                break
        return found

    def ended(self, after: str | float, limit: int = 100) -> EndedPage:
        """Sessions that have ended, from a cursor or a time on."""
        return self._transport.ask(asks.ended(after, limit))

    def history(self, session_id: str) -> list[AuditEntry]:
        """Who did what to a session, oldest first."""
        try:
            return self._transport.ask(asks.history(_known_id(session_id)))
        except SessionNotFound:
            return []

    def audit(self, session_id: str) -> list[AuditEntry]:
        """Who did what to a session, for as long as that is kept."""
        try:
            return self._transport.ask(asks.audit(_known_id(session_id)))
        except SessionNotFound:
            return []

    def audit_page(self, since: float, until: float, limit: int = 100, cursor: str | None = None) -> AuditPage:
        """Who did what, newest first."""
        return self._transport.ask(asks.audit_page(since, _finite(until), min(limit, LISTED_AT_ONCE), cursor))

    def audit_export(self, since: float, until: float) -> Iterator[bytes]:
        """The same as JSON Lines with an HMAC, which the server makes."""
        return reading.lines(self._transport, "audit", "export", since=since, until=_finite(until))

    def is_genuine_audit(self, key_id: str, digest: str, mac: str) -> bool:
        """Whether the server's grid has exported lines with this SHA-256."""
        return self._transport.ask(asks.is_genuine_audit(key_id, digest, mac))

    def cost(self, session_id: str) -> SessionCost:
        """What a session cost, or has cost so far."""
        return self._transport.ask(asks.cost(_known_id(session_id)))

    def costs(self, first_day: str | None = None, last_day: str | None = None, by: str = "tenant") -> CostReport:
        """Daily totals."""
        return self._transport.ask(asks.costs(first_day, last_day, by))

    def estimate(self, function: str, tasks: int, *, pool: str = "default", tenant: str | None = None) -> Estimate:
        """What a session would cost."""
        return self._transport.ask(asks.estimate(function, tasks, pool, tenant or self.describe().tenant))

    def notifications(self, session_id: str) -> list[Notification]:
        """Whom a session's end is told, and how far that is."""
        try:
            return self._transport.ask(asks.notifications(_known_id(session_id)))
        except SessionNotFound:
            return []

    def destinations(self) -> list[Destination]:
        """The destinations that sessions may name."""
        return self._transport.ask(asks.destinations())

    def add_destination(self, destination: Destination) -> None:
        """Register a destination."""
        check_destination(destination)
        self._transport.ask(asks.put_destination(destination))

    def remove_destination(self, name: str) -> bool:
        """Forget a destination."""
        try:
            self._transport.ask(asks.remove_destination(name))
        except InvalidInput:  # there is none
            return False
        return True

    def adopt(self, session_id: str, owner: str, *, notify: Sequence[Recipient] = ()) -> SessionRecord:
        """Make ``owner`` the one whose fenced cancel counts."""
        return self._noted(self._transport.ask(asks.adopt(_known_id(session_id), owner, notify)))

    def cancel(self, session_id: str, *, reason: str, owner: str | None = None) -> SessionRecord:
        """Ask for a session's end."""
        return self._noted(self._transport.ask(asks.cancel(_known_id(session_id), reason, owner)))

    def delete(self, session_id: str, *, reason: str = "") -> None:
        """Delete a session that has ended."""
        self._transport.ask(asks.delete_session(_known_id(session_id), reason))

    def hold(self, session_id: str, *, reason: str) -> SessionRecord:
        """Keep a session that has ended until it is released."""
        return self._transport.ask(asks.hold(_known_id(session_id), reason))

    def release(self, session_id: str, *, reason: str = "") -> SessionRecord:
        """Let a session's retention go on."""
        return self._transport.ask(asks.release(_known_id(session_id), reason))

    def waiter(self) -> HttpWaiter:
        """What waits for news of sessions."""
        return HttpWaiter(self._transport, self._first_seen)

    def _noted(self, record: SessionRecord) -> SessionRecord:
        self._first_seen.note(record)
        return record

    # Tasks

    def pages(self, record: SessionRecord, cursor: int = 0) -> Iterator[TaskPage]:
        """What was committed after ``cursor`` and until now."""
        for found in reading.pages(self._transport, record.session_id, cursor):
            page = self._pickles.page(record, found)
            assert isinstance(page, TaskPage)
            yield page

    def outcomes(self, record: SessionRecord, start: int = 0) -> Iterator[tuple[int, Outcome | None]]:
        """Every task's outcome in index order."""
        came = None if start else self._first_seen.results.take(record.session_id)
        found = reading.outcomes(self._transport, record.session_id, start) if came is None else results_of(came)
        return self._pickles.ordered(record, found)

    def tasks(self, record: SessionRecord, state: TaskState | None = None) -> Iterator[TaskPage | TaskOutcome]:
        """All tasks, or those in one state."""
        for found in reading.tasks(self._transport, record.session_id, state):
            yield self._pickles.page(record, found)

    def task(self, record: SessionRecord, index: int) -> TaskPage | TaskOutcome:
        """One task."""
        if not 0 <= index < max(1, record.counters.total):
            total = record.counters.total
            raise InvalidInput(
                f"session {record.session_id} has {total:,} tasks, numbered from 0: {index} is none of them"
            )
        return self._pickles.page(record, reading.task(self._transport, record.session_id, index))

    def events(self, record: SessionRecord, start: int = 0) -> Iterator[bytes]:
        """The events in index order."""
        self._pickles.check(record)
        return reading.events(self._transport, record.session_id, start)

    # What sessions refer to

    def put(self, data: Data, codec: str) -> SharedInput:
        """Store an encoded value for many tasks."""
        if codec not in SHARED_CODECS:
            raise InvalidInput(f"{codec!r} is not how a shared input is encoded: {', '.join(SHARED_CODECS)}")
        return self._transport.ask(asks.put_shared(joined(data), codec, self.describe().tenant))

    def put_file(self, path: Path) -> SharedInput:
        """Store a file for many tasks: in one request, and so up to what the server takes."""
        size = path.stat().st_size if path.is_file() else 0
        if size > limits.SHARED_REQUEST_BYTES:
            text = f"{path} has {size:,} bytes, and a server takes {limits.SHARED_REQUEST_BYTES:,}"
            raise InvalidInput(f"{text}: put it as aws:// or local://, or leave it in storage that tasks read")
        digest = digest_of(path)
        stored = self.put(path.read_bytes(), "bytes")
        if stored.digest != digest:
            raise InvalidInput(f"{path} changed while it was read")
        return SharedInput(digest, FILE)

    def put_callable(self, pickled: bytes) -> str:
        """Store a pickled callable."""
        check_not_importing()
        return self._transport.ask(asks.put_callable(pickled, self.describe().tenant))

    def deploy(self, draft: FunctionVersion, package: Packed) -> FunctionVersion:
        """Register a package as the next version of a function."""
        return self._transport.ask(asks.deploy(draft, package, self.describe().tenant), BEAR_SECONDS)

    def function(
        self, name: str, version: int | str | None = None, *, session_id: str | None = None
    ) -> FunctionVersion:
        """A version of a function that is deployed, or the latest."""
        _check_name(name)
        return self._transport.ask(asks.function(name, version, session_id, self.describe().tenant))

    def functions(self, name: str | None = None) -> list[FunctionVersion]:
        """The latest version of each function; or all versions of one."""
        if name is not None:
            _check_name(name)
        try:
            return self._transport.ask(asks.functions(name, self.describe().tenant))
        except FunctionNotFound:  # it could be one
            return []

    def remove_function(self, name: str, version: int | None = None) -> list[int]:
        """Take one version or all out of use for new sessions."""
        _check_name(name)
        return self._transport.ask(asks.remove_function(name, version, self.describe().tenant))


def _finite(until: float) -> float | None:
    return until if until < float("inf") else None


def _known_id(session_id: str) -> str:
    """An id that a session may have: others would be another path."""
    if not SESSION_ID.fullmatch(session_id):
        raise SessionNotFound(session_id)
    return session_id


def _check_name(name: str) -> None:
    if not REGISTERED_NAME.fullmatch(name):
        raise FunctionNotFound(f"{name!r} is no function's name: letters, digits, - and _")
