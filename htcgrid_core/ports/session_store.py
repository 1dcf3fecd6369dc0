"""The session store: the table that is the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from htcgrid_core.domain.agent import AgentRecord as AgentRecord
from htcgrid_core.domain.agent import BegunTask as BegunTask
from htcgrid_core.domain.audit import AuditEntry as AuditEntry
from htcgrid_core.domain.bundle import Block, Bundle, Child
from htcgrid_core.domain.ended import EndedPage
from htcgrid_core.domain.errors import InvalidInput, SessionHeld, SessionNotFinished
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.domain.usage import FunctionUsage
from htcgrid_core.ports.bundle_queue import Hint

SUBMITTER = "client"  # who submits, in the audit, where nobody says who he is
WHOLE_BUNDLES = 32  # roots that create_whole takes


class Refusal(StrEnum):
    """Why a claim was refused."""

    OVER = "over"  # the bundle is done or its session has ended: forget the hint
    LEASED = "leased"  # another agent holds a live lease
    EARLY = "early"  # its retry delay is not over
    UNKNOWN = "unknown"  # there is no such session, or not yet
    NEWER = "newer"  # its session is for agents of a newer release (domain/agent_version.py)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A bundle that is now ours, with all that running it needs."""

    bundle: Bundle
    lease: Lease
    block: Block
    session: SessionRecord


@dataclass(frozen=True, slots=True)
class Refused:
    """A claim that changed nothing.

    Attributes:
        children: the unfinished children of a done bundle, whose messages may have been lost.
    """

    reason: Refusal
    children: tuple[Hint, ...] = ()


@dataclass(frozen=True, slots=True)
class Renewal:
    """A wish to hold a lease for longer."""

    session_id: str
    bundle_id: str
    token: str
    until: float


@dataclass(frozen=True, slots=True)
class Renewed:
    """The answer to a Renewal: whether the lease is still ours, and what became of its session."""

    held: bool
    session_state: SessionState


@dataclass(frozen=True, slots=True)
class Commit:
    """What one agent did with one leased bundle, to be written in one atomic step.

    Attributes:
        outcomes: packed outcomes (codecs.outcomes), None if there are none.
        completed, failed: how many of them are in which state.
        children: bundles that carry on with the tasks that have no outcome.
        task_seconds: how long the tasks of the outcomes took, together.
        retrying: by how many there are more, or fewer, tasks that have failed and not ended.
        attempts: packed (codecs.failed_attempts), what tasks that run again said when they failed; None for nothing.
    """

    session_id: str
    bundle_id: str
    token: str
    now: float
    outcomes: Payload | None
    completed: int
    failed: int
    children: tuple[Child, ...] = ()
    task_seconds: float = 0.0
    retrying: int = 0
    attempts: bytes | None = None

    @property
    def output_bytes(self) -> int:
        """Of the outcomes, packed."""
        return 0 if self.outcomes is None else self.outcomes.size

    @property
    def output_blobs(self) -> int:
        """How many blobs they are in."""
        return int(self.outcomes is not None and self.outcomes.data is None)


@dataclass(frozen=True, slots=True)
class OutcomePage:
    """The outcomes of one commit.

    Attributes:
        cursor: grows with every commit of the session; pass it back to go on after this page.
        epoch, agent: of the lease that committed it.
    """

    cursor: int
    root: int
    bundle_id: str
    epoch: int
    agent: str
    payload: Payload
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Committed:
    """That a bundle was committed with outcomes, as far as it is known without reading them.

    Attributes:
        cursor: its page's.
        failed: whether some of its tasks failed for good.
    """

    cursor: int
    bundle_id: str
    failed: bool


@dataclass(frozen=True, slots=True)
class OpenBundle:
    """A bundle that is not done, and who has it."""

    bundle: Bundle
    lease: Lease | None


@dataclass(frozen=True, slots=True)
class Deleted:
    """A session whose row is gone.

    Attributes:
        folder: of its blobs, which are the caller's to delete; as in its row.
    """

    session_id: str
    folder: str


def not_finished(record: SessionRecord) -> SessionNotFinished:
    """What is said to whoever would delete a session that has not ended."""
    return SessionNotFinished(
        f"session {record.session_id} is {record.state}, and was not deleted: cancel it, and delete it at its end"
    )


def on_hold(session_id: str, why: str) -> SessionHeld:
    """What is said to whoever would delete a session that is held, or of which a hold is begun or half released."""
    return SessionHeld(
        f"session {session_id} is on legal hold ({why or 'begun, or not wholly released'}), and was not deleted: "
        f"`htcgrid data release {session_id}` ends that"
    )


def check_holdable(record: SessionRecord) -> None:
    """Whether a hold would keep anything.

    Raises:
        SessionNotFinished: it has not ended; nothing deletes it before.
        InvalidInput: it was never submitted whole, and makes way for another try.
    """
    if not record.ended:
        raise SessionNotFinished(
            f"session {record.session_id} is {record.state}, and was not held: nothing deletes it before its end; "
            "hold it then"
        )
    if not record.acknowledged and not record.damage:
        raise InvalidInput(f"session {record.session_id} was never submitted whole: there is nothing to hold")


class SessionStore(Protocol):
    """Every write is conditional, atomic and safe to repeat after a lost reply.

    Methods raise GridUnavailable when the outcome of a call is unknown or it did not happen; the caller
    repeats the same call with the same arguments.
    """

    def create_session(self, record: SessionRecord, *, actor: str = SUBMITTER) -> SessionRecord:
        """Write a SUBMITTED session unless its id exists; return the row as it then is.

        Args:
            actor: who submits it, for the audit.
        """

    def create_whole(
        self,
        record: SessionRecord,
        bundles: Sequence[tuple[Bundle, Block]],
        *,
        digest: str,
        tolerated: int | None,
        actor: str = SUBMITTER,
    ) -> SessionRecord:
        """Write a small session, bundles and all, RUNNING, in one step; a session that exists is returned as it is.

        The number of bundles is limited by ``WHOLE_BUNDLES``.
        """

    def sync(self) -> None:
        """Return once every write of this process so far would survive a power failure."""

    def put_bundles(self, session_id: str, bundles: Sequence[tuple[Bundle, Block]], now: float) -> None:
        """Write roots and their blocks and add their tasks to the total; those that exist are left alone.

        Raises:
            SessionConflict: a root that exists holds other events.
            IllegalTransition: the session is not SUBMITTED.
        """

    def acknowledge(
        self,
        session_id: str,
        *,
        bundles: int,
        digest: str,
        tolerated: int | None,
        now: float,
        actor: str = SUBMITTER,
    ) -> SessionRecord:
        """SUBMITTED becomes RUNNING. An acknowledged session is returned as it is.

        Raises:
            IllegalTransition: the session was cancelled or aborted meanwhile.
        """

    def session(self, session_id: str, now: float) -> SessionRecord:
        """One session's row.

        Raises:
            SessionNotFound: no such session, or expired.
        """

    def progress(self, session_ids: Sequence[str], now: float) -> list[SessionRecord]:
        """Up to 100 sessions' rows in one call, in the order asked for; unknown ones are left out."""

    def sessions(
        self, now: float, *, states: Sequence[SessionState] = (), limit: int = 100, before: float | None = None
    ) -> list[SessionRecord]:
        """Sessions, newest first; ``before`` is the submitted_at to go on from."""

    def live_sessions(self) -> list[SessionRecord]:
        """Sessions that have not ended: all that the reconciler looks at."""

    def ended(self, after: str | float, now: float, limit: int) -> EndedPage:
        """Sessions that have ended, at most ``limit`` in a page.

        Args:
            after: the cursor of the page before; or a time (seconds since the epoch) to begin with. From there on pages
                hold every end after that time, and every one written after this call, whatever its writer's clock says;
                and maybe some that were written shortly before. The same end may be in several pages.
        """

    def claim(
        self,
        session_id: str,
        bundle_id: str,
        *,
        token: str,
        owner: str,
        now: float,
        until: float,
        generation: str = "",
    ) -> Claimed | Refused:
        """Lease a bundle that is ready, or whose lease has lapsed.

        A claim by the token that already holds the lease is granted: it is the same claim, repeated.

        Args:
            generation: as the hint has it; it may be wrong.
        """

    def renew(self, renewals: Sequence[Renewal]) -> list[Renewed]:
        """Move leases' ends; one answer for each, in order."""

    def commit(self, commit: Commit) -> SessionRecord:
        """Mark the bundle done, add to the counters and create the children, all or nothing.

        Repeating a commit that was applied returns the session's row again and changes nothing. The row that is
        returned may lack what others have done, as long as it is clear that the session is not over: whoever commits
        last, or a failure, sees all of it.

        Raises:
            LeaseLost: the token no longer holds the lease, or the session has ended.
        """

    def adopt(self, session_id: str, owner: str, now: float, *, actor: str = SUBMITTER) -> SessionRecord:
        """Make ``owner`` the session's owner; return the row as it then is. One that has ended keeps its owner.

        Args:
            actor: who says so, for the audit.

        Raises:
            SessionNotFound: no such session, or expired.
        """

    def advance(
        self,
        session_id: str,
        event: SessionEvent,
        *,
        now: float,
        actor: str,
        reason: str = "",
        owner: str | None = None,
    ) -> SessionRecord:
        """Apply ``event`` if the lifecycle allows it in the state the row is in; return the row as it then is.

        An event that leads to a terminal state counts every task without an outcome as cancelled, in the
        same write. A session that has ended, is already where the event leads, or has another owner than
        ``owner`` (if that is given; compared in the same write), is returned unchanged.
        """

    def has_live_lease(self, session_id: str, now: float) -> bool:
        """Whether any agent may still be running tasks of this session."""

    def runnable(self, session_id: str, now: float, limit: int) -> list[Hint]:
        """Bundles that are ready or whose lease has lapsed, and since when."""

    def open_bundles(self, session_id: str, after: str, limit: int) -> list[OpenBundle]:
        """Bundles that are not done, by id, after id ``after``."""

    def blocks(self, session_id: str, first_root: int, limit: int, *, events: bool = True) -> list[Block]:
        """Blocks of roots from ``first_root`` on, in order; without ``events``, their payload may be empty."""

    def outcome_pages(self, session_id: str, after: int, limit: int, *, failed_only: bool = False) -> list[OutcomePage]:
        """Pages in commit order, after cursor ``after`` (0 to begin)."""

    def root_pages(self, session_id: str, first_root: int, last_root: int) -> list[OutcomePage]:
        """All pages of roots ``first_root <= root < last_root``."""

    def committed(self, session_id: str, after: int, limit: int) -> list[Committed]:
        """What ``outcome_pages`` would return, without the pages: it costs little however large these are."""

    def bundle_pages(self, session_id: str, bundle_ids: Sequence[str]) -> list[OutcomePage]:
        """The pages of up to 100 bundles, in no order and without their cursors; those without a page are left out."""

    def attempts(self, session_id: str, bundle_ids: Sequence[str]) -> dict[str, bytes]:
        """The ``attempts`` that commits of up to 100 bundles came with, by their ids; those without are left out."""

    def attempts_of_root(self, session_id: str, root: int, limit: int) -> list[bytes]:
        """The ``attempts`` of a root and its descendants, at most ``limit`` of them, in no order."""

    def expire(self, now: float, limit: int) -> list[Deleted]:
        """Delete ended sessions whose retention has passed; their blobs are the caller's."""

    def delete(self, session_id: str, folder: str, now: float, *, actor: str, reason: str = "") -> None:
        """Delete one that has ended, before its time; its blobs are the caller's.

        Args:
            folder: of its blobs, as in the row that was looked at: a newer session under its id is not deleted.
            actor: who says so, for the audit, which keeps its entries.

        Raises:
            SessionNotFound: it is gone; of a call that is repeated, perhaps by the one before.
            SessionNotFinished: it has not ended.
            SessionHeld: it is on hold.
        """

    def hold(self, session_id: str, now: float, *, actor: str, reason: str) -> SessionRecord:
        """Keep one that has ended, whatever its retention says, until it is released; the row as it then is.

        It returns once nothing deletes any of the session any more; the row says so from then on, and not before.
        One that is held already is returned as it is. If a caller dies halfway, the session is not deleted, and the
        same call goes on.

        Args:
            actor, reason: for the audit; the reason is not empty.

        Raises:
            SessionNotFound: there is none, or it has expired.
            SessionNotFinished, InvalidInput: see ``check_holdable``.
        """

    def release(self, session_id: str, now: float, *, actor: str, reason: str = "") -> SessionRecord:
        """Let the retention of a session go on as if it had never been held; the row as it then is.

        One that is not held is returned as it is. If a caller dies halfway, the session is neither held nor deleted,
        and the same call goes on.

        Raises:
            SessionNotFound: there is none.
        """

    def beat(self, agent: AgentRecord, *, size: PoolSize | None = None, usage: Sequence[FunctionUsage] = ()) -> None:
        """Write what an agent says of itself.

        Args:
            size: of the slots of its pool, which stands when the agent has gone; the last one told counts.
            usage: what the agent has measured of some functions, each in all: it replaces what it said of them before.
        """

    def forget_agent(self, agent_id: str) -> None:
        """An agent has left."""

    def agents(self, now: float) -> list[AgentRecord]:
        """Agents heard of within one lease time."""

    def pools(self) -> list[PoolSize]:
        """The sizes of pools whose agents have told them, by name."""

    def usage(self, prefix: str = "", *, now: float) -> list[FunctionUsage]:
        """What agents have measured of functions whose names begin so; several of one function, of several agents.

        What was told longer ago than ``limits.USAGE_KEPT_SECONDS`` may be missing.
        """

    def history(self, session_id: str) -> list[AuditEntry]:
        """The session's transitions, oldest first."""
