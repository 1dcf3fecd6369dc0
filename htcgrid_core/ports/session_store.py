"""The session store: the table that is the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from htcgrid_core.domain.agent import AgentRecord as AgentRecord
from htcgrid_core.domain.audit import AuditEntry as AuditEntry
from htcgrid_core.domain.bundle import Block, Bundle, Child
from htcgrid_core.domain.ended import EndedPage
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.bundle_queue import Hint

WHOLE_BUNDLES = 32  # roots that create_whole takes


class Refusal(StrEnum):
    """Why a claim was refused."""

    OVER = "over"  # the bundle is done or its session has ended: forget the hint
    LEASED = "leased"  # another agent holds a live lease
    EARLY = "early"  # its retry delay is not over
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
class OpenBundle:
    """A bundle that is not done, and who has it."""

    bundle: Bundle
    lease: Lease | None


class SessionStore(Protocol):
    """Every write is conditional, atomic and safe to repeat after a lost reply.

    Methods raise GridUnavailable when the outcome of a call is unknown or it did not happen; the caller
    repeats the same call with the same arguments.
    """

    def create_session(self, record: SessionRecord) -> SessionRecord:
        """Write a SUBMITTED session unless its id exists; return the row as it then is."""

    def create_whole(
        self, record: SessionRecord, bundles: Sequence[tuple[Bundle, Block]], *, digest: str, tolerated: int | None
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
        self, session_id: str, *, bundles: int, digest: str, tolerated: int | None, now: float
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
        self, session_id: str, bundle_id: str, *, token: str, owner: str, now: float, until: float
    ) -> Claimed | Refused:
        """Lease a bundle that is ready, or whose lease has lapsed.

        A claim by the token that already holds the lease is granted: it is the same claim, repeated.
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

    def adopt(self, session_id: str, owner: str, now: float) -> SessionRecord:
        """Make ``owner`` the session's owner; return the row as it then is. One that has ended keeps its owner.

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

    def expire(self, now: float, limit: int) -> list[str]:
        """Delete ended sessions whose retention has passed; return their ids (their blobs are the caller's)."""

    def beat(self, agent: AgentRecord) -> None:
        """Write what an agent says of itself."""

    def forget_agent(self, agent_id: str) -> None:
        """An agent has left."""

    def agents(self, now: float) -> list[AgentRecord]:
        """Agents heard of within one lease time."""

    def history(self, session_id: str) -> list[AuditEntry]:
        """The session's transitions, oldest first."""
