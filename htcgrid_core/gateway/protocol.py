"""The gateway: the use cases of a grid, for clients and servers alike.

Arguments and results are plain data, so that an implementation may be far away. A gateway signs and verifies, with a
key that its user does not have; it neither encodes nor decodes: events and shared values come encoded, and results
leave it as they were encoded, so that a server never loads a pickle. Iterators are bounded in memory, and cursors are
those of the pages that came with them.

Each method may raise GridUnavailable, AccessDenied and IncompatibleGrid besides what it says. ``outcomes``, which
cannot be taken up again in the middle, bears for a while what passes by itself, as ``domain.patience`` has it; those
who wait do so themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from htcgrid_core.codecs.buffers import Data
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.packages import Packed
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.audit import AuditEntry, AuditPage
from htcgrid_core.domain.costs import CostReport, Estimate, SessionCost
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.ended import EndedPage
from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.notification import Notification, Recipient
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.gateway.description import GridDescription


class Waiter(Protocol):
    """Waits for news of sessions, as many as there are; a context manager. For one thread at a time.

    Attributes:
        knows_the_end: whether ``wait_for_end`` returns soon if the session has ended already; else whoever waits has
            to look first.
    """

    knows_the_end: bool

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def wait(self, timeout_seconds: float | None, session_ids: Collection[str] = ()) -> None:
        """Return when there is news, or after the timeout, or after a while: news may be lost.

        Meanwhile agents are kept running.

        Args:
            session_ids: whose news is waited for; empty for all. Others' news may end the wait, too.

        Raises:
            GridUnavailable: agents cannot be started any more.
            WouldDeadlock: this is a task's wait for its own grid, whose agent has no worker left to lend for it.
        """

    def wait_for_end(self, timeout_seconds: float | None, session_id: str) -> None:
        """As ``wait``, of one who wants to know of this session's end alone."""

    def interrupt(self) -> None:
        """Let ``wait`` return: for other threads. Like news, this may be lost."""


class Gateway(Protocol):
    """One grid. May be used from many threads.

    Attributes:
        url: as whoever connected wrote it.
    """

    url: str

    # The grid

    def describe(self) -> GridDescription:
        """What is to be known before a submit. Quick: what is far away is asked once in a heartbeat."""

    def wake(self) -> None:
        """Make sure that agents run.

        Raises:
            GridUnavailable: they cannot be started.
        """

    def agents(self) -> list[AgentRecord]:
        """What agents that are alive last said of themselves."""

    def measure(self) -> Measurement:
        """The grid's load."""

    def silent(self) -> list[str]:
        """What this thread's last list of sessions lacks: regions that did not answer, and why. Of one, nothing."""

    def close(self) -> None:
        """Let go of the connection, which comes back when it is used again."""

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
        """Submit a session, make sure that agents run, and return the acknowledged row.

        What is wrong with the events that are few megabytes together is told before anything is written.

        Args:
            session_id: a fresh id, or one made from a token (``session_id_of``), of the spec's tenant. That of the row
                names the region, too, where there are several.
            events: encoded with ``spec.codec``; streamed. What iterating raises aborts the submission.
            total: how many events there are, if that is known.
            idempotent: the id is a token's: the session that it has, if the body is the same, is returned.
            durable: return once it would survive a power failure, not only the death of a process.
            on_progress: called with the number of events written so far.
            notify: who is told of its end. It is not of the body: the same submission with another task token
                replaces the one before, which is told nothing.
            validate: how many of the events are checked by their schema, if the function was deployed with one. All
                that are, are before anything is written.

        Raises:
            InvalidEvents: some are not what the schema says.
            InvalidInput: the id, the pool, the function's package or callable, or a shared input is no good; or a
                destination is not registered, or the task of Step Functions does not wait.
            InvalidEvent: an event is too large.
            SessionConflict: the token's session has another body.
            GridUnavailable: it was not submitted; submit again with the same token. Or, as the message then says, it
                was, and agents cannot be started.
        """

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
        """Submit a session whose events the grid's server reads, and return the acknowledged row.

        Args:
            session_id: counts unless the source's ``once`` names the session.
            on_progress: called with the number of rows that the server has read.
            validate: as for ``submit``.

        Raises:
            NotOffered: the grid has no server between it and its clients, or one that reads nothing.
            InvalidInput: the source may not be read, or cannot be.
            SessionConflict, GridUnavailable: as for ``submit``.
        """

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
        """Submit, as a session with this id, the tasks of an ended one that are not COMPLETED.

        Args:
            region: where it is to run, of a grid that has several; None for its parent's.
            notify: who is told of its end, as for ``submit``; those whom its parent named are not.

        Raises:
            SessionNotFound: there is no such parent.
            SessionNotFinished: the parent still runs.
            InvalidInput: as for ``submit``; or there is no such region.
            SessionConflict: as for ``submit``.
        """

    def session(self, session_id: str) -> SessionRecord:
        """One session's row.

        Raises:
            SessionNotFound: there is none, or its retention time has passed.
        """

    def progress(self, session_ids: Sequence[str]) -> list[SessionRecord]:
        """Rows of up to a hundred sessions (``limits.PROGRESS_BATCH``), in this order; unknown ones are left out.

        Raises:
            InvalidInput: more than that.
        """

    def sessions(
        self, *, states: Sequence[SessionState] = (), limit: int = 100, before: float | None = None
    ) -> list[SessionRecord]:
        """Rows, newest first.

        Args:
            states: only those in one of them; empty for all.
            before: the ``submitted_at`` to go on from.
        """

    def ended(self, after: str | float, limit: int = 100) -> EndedPage:
        """Sessions that have ended, at most ``limit`` in a page; those that live cost nothing.

        Args:
            after: the cursor of the page before; or a time (seconds since the epoch) to begin with. From there on pages
                hold every end after that time, and every one that comes after this call, whatever clocks say;
                and maybe some that came shortly before. The same end may be in several pages.
        """

    def history(self, session_id: str) -> list[AuditEntry]:
        """Who did what to a session, oldest first; empty if there is none."""

    def audit(self, session_id: str) -> list[AuditEntry]:
        """As ``history``, with addresses, and also of a session that has been deleted, for as long as it is kept."""

    def audit_page(self, since: float, until: float, limit: int = 100, cursor: str | None = None) -> AuditPage:
        """Who did what to the grid and its sessions, newest first.

        Args:
            since, until: seconds since the epoch; the first is in it, the second not.
            limit: of one page, which may have fewer and yet not be the last.
            cursor: of the page before.
        """

    def audit_export(self, since: float, until: float) -> Iterator[bytes]:
        """The same as JSON Lines, the last of which has an HMAC by the grid's key over the others (services.audit)."""

    def is_genuine_audit(self, key_id: str, digest: str, mac: str) -> bool:
        """Whether this grid has exported lines with this SHA-256.

        Raises:
            InvalidInput: it does not have this key (any more).
        """

    def cost(self, session_id: str) -> SessionCost:
        """What a session cost, or has cost so far.

        Raises:
            SessionNotFound: there is none, or its retention time has passed.
        """

    def costs(self, first_day: str | None = None, last_day: str | None = None, by: str = "tenant") -> CostReport:
        """Daily totals of sessions by the days of their ends, by ``tenant`` or ``label:NAME``.

        Args:
            first_day, last_day: as YYYY-MM-DD, in UTC, both in it; None for 30 days, and until today.

        Raises:
            InvalidInput: they cannot be summed up by this, or there is no such day.
        """

    def estimate(self, function: str, tasks: int, *, pool: str = "default", tenant: str | None = None) -> Estimate:
        """What a session would cost, by earlier ones of the function; without any, nothing is known.

        Args:
            function: as it would be submitted, without its version.
            tenant: None for whoever asks.

        Raises:
            InvalidInput: a session has no such number of tasks.
        """

    def notifications(self, session_id: str) -> list[Notification]:
        """Whom a session's end is told, and how far that is; without task tokens."""

    def destinations(self) -> list[Destination]:
        """The destinations that sessions may name, without their secrets."""

    def add_destination(self, destination: Destination) -> None:
        """Register a destination, in the place of one with the same name.

        Raises:
            InvalidInput: its target or its secret is no good.
        """

    def remove_destination(self, name: str) -> bool:
        """Forget a destination; False if there is none. What is still to be told there is not."""

    def adopt(self, session_id: str, owner: str, *, notify: Sequence[Recipient] = ()) -> SessionRecord:
        """Make ``owner`` the one whose fenced cancel counts; one that has ended keeps its owner.

        Args:
            notify: who is told of its end, beside those who are already; another task token replaces the one before.

        Raises:
            SessionNotFound: there is none.
            InvalidInput: as for ``submit``.
        """

    def cancel(self, session_id: str, *, reason: str, owner: str | None = None) -> SessionRecord:
        """Ask for a session's end and return at once; one that has ended stays as it is.

        Args:
            owner: cancel only if the session is still this owner's; None for whoever's it is.

        Raises:
            SessionNotFound: there is none.
        """

    def delete(self, session_id: str, *, reason: str = "") -> None:
        """Delete a session that has ended, with its events and results, before its time; its audit stays.

        Raises:
            SessionNotFound: there is none.
            SessionNotFinished: it has not ended; nothing was deleted.
            SessionHeld: it is on legal hold.
        """

    def hold(self, session_id: str, *, reason: str) -> SessionRecord:
        """Keep a session that has ended, and those whose tasks it ran again, until it is released.

        Nothing deletes it then, whatever its retention says. It is held once this returns; the same call goes on with
        one that was interrupted.

        Raises:
            SessionNotFound: there is none, or its retention time has passed.
            SessionNotFinished: it has not ended.
            InvalidInput: there is no reason.
        """

    def release(self, session_id: str, *, reason: str = "") -> SessionRecord:
        """Let a session's retention go on as if it had never been held: if that has passed, the session is gone.

        Raises:
            SessionNotFound: there is none.
        """

    def waiter(self) -> Waiter:
        """What waits for news of sessions."""

    # Tasks of a session, by its row: one that is not older than what is to be seen

    def pages(self, record: SessionRecord, cursor: int = 0) -> Iterator[TaskPage]:
        """What was committed after ``cursor`` and until now, without waiting for more.

        Raises:
            CorruptPayload: a page was damaged, or not written by this grid.
        """

    def outcomes(self, record: SessionRecord, start: int = 0) -> Iterator[tuple[int, Outcome | None]]:
        """Every task's outcome in index order, None if it has none.

        Those of a resubmitted session fill the gaps of its parent's.

        Args:
            start: the first task that is wanted.

        Raises:
            SessionNotFound: the parent's retention time has passed.
            CorruptPayload: as for ``pages``.
        """

    def tasks(self, record: SessionRecord, state: TaskState | None = None) -> Iterator[TaskPage | TaskOutcome]:
        """All tasks, or those in one state, in no order: pages of those with an outcome, the others one by one.

        Raises:
            CorruptPayload: as for ``pages``.
        """

    def task(self, record: SessionRecord, index: int) -> TaskPage | TaskOutcome:
        """One task: alone on its page, if it has an outcome.

        Raises:
            InvalidInput: the session has no such task.
            CorruptPayload: as for ``pages``.
        """

    def events(self, record: SessionRecord, start: int = 0) -> Iterator[bytes]:
        """The events in index order, as they were encoded.

        Args:
            start: the first that is wanted.

        Raises:
            CorruptPayload: as for ``pages``.
        """

    # What sessions refer to

    def put(self, data: Data, codec: str) -> SharedInput:
        """Store an encoded value for many tasks.

        Args:
            codec: "json", "pickle" or "bytes".

        Raises:
            InvalidInput: another codec.
        """

    def put_file(self, path: Path) -> SharedInput:
        """Store a file, of whatever size, for many tasks, which have it as a file of their machine; once for its bytes.

        Raises:
            InvalidInput: it cannot be read, changed while it was, or is larger than the grid takes.
        """

    def put_callable(self, pickled: bytes) -> str:
        """Store a pickled callable; what is returned stands in a ``FunctionSpec`` as its ``blob``."""

    def deploy(self, draft: FunctionVersion, package: Packed) -> FunctionVersion:
        """Register a package as the next version of a function; the latest one again if that asks for the same.

        Args:
            draft: its number, its blob and sizes, and when and by whom it was deployed are filled in.

        Raises:
            InvalidInput: it sets a variable that the runtime sets.
        """

    def function(
        self, name: str, version: int | str | None = None, *, session_id: str | None = None
    ) -> FunctionVersion:
        """A version of a function that is deployed, or the latest.

        Args:
            version: its number; an alias, which may mean one version for some sessions and another for the rest; None
                for the latest.
            session_id: of a token. If there is this session and it runs the function, the version that it runs: to
                submit again after a deployment is no other submission.

        Raises:
            FunctionNotFound: there is none.
        """

    def functions(self, name: str | None = None) -> list[FunctionVersion]:
        """The latest version of each function; or all versions of one, oldest first.

        Raises:
            FunctionNotFound: this can be no function's name.
        """

    def remove_function(self, name: str, version: int | None = None) -> list[int]:
        """Take one version or all out of use for new sessions; return their numbers.

        Raises:
            FunctionNotFound: there is none.
        """
