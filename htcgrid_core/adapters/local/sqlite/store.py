"""The session store on SQLite: each method is one transaction, each condition part of its statement."""

from __future__ import annotations

from collections.abc import Sequence

from htcgrid_core.adapters.local.sqlite.agents import AgentRecords
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.ending import Ending
from htcgrid_core.adapters.local.sqlite.holding import Holding
from htcgrid_core.adapters.local.sqlite.leasing import Leasing
from htcgrid_core.adapters.local.sqlite.queries import Queries
from htcgrid_core.adapters.local.sqlite.submitting import Submitting
from htcgrid_core.adapters.local.sqlite.usage import UsageRows
from htcgrid_core.domain.bundle import Block, Bundle
from htcgrid_core.domain.ended import EndedPage
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.domain.usage import FunctionUsage
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.session_store import (
    SUBMITTER,
    AgentRecord,
    AuditEntry,
    Claimed,
    Commit,
    Committed,
    Deleted,
    OpenBundle,
    OutcomePage,
    Refused,
    Renewal,
    Renewed,
)


class SqliteStore:
    """Sessions, bundles and outcomes of one database: the port, each method of which is a part's.

    The port says what they do; the parts, how.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._submitting = Submitting(database)
        self._leasing = Leasing(database)
        self._ending = Ending(database)
        self._holding = Holding(database)
        self._queries = Queries(database)
        self._agent_records = AgentRecords(database)
        self._usage_rows = UsageRows(database)

    # Submit

    def create_session(self, record: SessionRecord, *, actor: str = SUBMITTER) -> SessionRecord:
        """Write a SUBMITTED session unless its id exists."""
        return self._submitting.create_session(record, actor)

    def create_whole(
        self,
        record: SessionRecord,
        bundles: Sequence[tuple[Bundle, Block]],
        *,
        digest: str,
        tolerated: int | None,
        actor: str = SUBMITTER,
    ) -> SessionRecord:
        """Write a small session, bundles and all, RUNNING, in one step."""
        return self._submitting.create_whole(record, bundles, actor, digest=digest, tolerated=tolerated)

    def put_bundles(self, session_id: str, bundles: Sequence[tuple[Bundle, Block]], now: float) -> None:
        """Write roots and their blocks and add their tasks to the total."""
        self._submitting.put_bundles(session_id, bundles, now)

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
        """SUBMITTED becomes RUNNING."""
        return self._submitting.acknowledge(
            session_id, actor, bundles=bundles, digest=digest, tolerated=tolerated, now=now
        )

    def sync(self) -> None:
        """Return once every write so far would survive a power failure."""
        self._database.sync()

    # Leases

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
        """Lease a bundle that is ready, or whose lease has lapsed."""
        return self._leasing.claim(session_id, bundle_id, token=token, owner=owner, now=now, until=until)

    def renew(self, renewals: Sequence[Renewal]) -> list[Renewed]:
        """Move leases' ends."""
        return self._leasing.renew(renewals)

    def commit(self, commit: Commit) -> SessionRecord:
        """Mark the bundle done, add to the counters and create the children, all or nothing."""
        return self._leasing.commit(commit)

    # Transitions

    def adopt(self, session_id: str, owner: str, now: float, *, actor: str = SUBMITTER) -> SessionRecord:
        """Make ``owner`` the session's owner."""
        return self._ending.adopt(session_id, owner, now, actor=actor)

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
        """Apply ``event`` if the lifecycle allows it in the state the row is in."""
        return self._ending.advance(session_id, event, now=now, actor=actor, reason=reason, owner=owner)

    def expire(self, now: float, limit: int) -> list[Deleted]:
        """Delete ended sessions whose retention has passed; their blobs are the caller's."""
        return self._ending.expire(now, limit)

    def delete(self, session_id: str, folder: str, now: float, *, actor: str, reason: str = "") -> None:
        """Delete one that has ended, before its time; its blobs are the caller's."""
        self._ending.delete(session_id, folder, now, actor=actor, reason=reason)

    def hold(self, session_id: str, now: float, *, actor: str, reason: str) -> SessionRecord:
        """Keep one that has ended until it is released."""
        return self._holding.hold(session_id, now, actor=actor, reason=reason)

    def release(self, session_id: str, now: float, *, actor: str, reason: str = "") -> SessionRecord:
        """Let its retention go on."""
        return self._holding.release(session_id, now, actor=actor, reason=reason)

    # Queries

    def session(self, session_id: str, now: float) -> SessionRecord:
        """One session's row."""
        return self._queries.session(session_id, now)

    def progress(self, session_ids: Sequence[str], now: float) -> list[SessionRecord]:
        """Up to 100 sessions' rows in one call."""
        return self._queries.progress(session_ids, now)

    def sessions(
        self, now: float, *, states: Sequence[SessionState] = (), limit: int = 100, before: float | None = None
    ) -> list[SessionRecord]:
        """Sessions, newest first."""
        return self._queries.sessions(now, states=states, limit=limit, before=before)

    def live_sessions(self) -> list[SessionRecord]:
        """Sessions that have not ended."""
        return self._queries.live_sessions()

    def ended(self, after: str | float, now: float, limit: int) -> EndedPage:
        """Sessions that have ended, in the order in which that was written."""
        return self._queries.ended(after, now, limit)

    def has_live_lease(self, session_id: str, now: float) -> bool:
        """Whether any agent may still be running tasks of this session."""
        return self._queries.has_live_lease(session_id, now)

    def runnable(self, session_id: str, now: float, limit: int) -> list[Hint]:
        """Bundles that are ready or whose lease has lapsed, and since when."""
        return self._queries.runnable(session_id, now, limit)

    def open_bundles(self, session_id: str, after: str, limit: int) -> list[OpenBundle]:
        """Bundles that are not done."""
        return self._queries.open_bundles(session_id, after, limit)

    def blocks(self, session_id: str, first_root: int, limit: int, *, events: bool = True) -> list[Block]:
        """Blocks of roots from ``first_root`` on."""
        return self._queries.blocks(session_id, first_root, limit, events=events)

    def outcome_pages(self, session_id: str, after: int, limit: int, *, failed_only: bool = False) -> list[OutcomePage]:
        """Pages in commit order, after cursor ``after``."""
        return self._queries.outcome_pages(session_id, after, limit, failed_only=failed_only)

    def root_pages(self, session_id: str, first_root: int, last_root: int) -> list[OutcomePage]:
        """All pages of roots ``first_root <= root < last_root``."""
        return self._queries.root_pages(session_id, first_root, last_root)

    def committed(self, session_id: str, after: int, limit: int) -> list[Committed]:
        """What ``outcome_pages`` would return, without the pages."""
        return self._queries.committed(session_id, after, limit)

    def bundle_pages(self, session_id: str, bundle_ids: Sequence[str]) -> list[OutcomePage]:
        """The pages of some bundles."""
        return self._queries.bundle_pages(session_id, bundle_ids)

    def attempts(self, session_id: str, bundle_ids: Sequence[str]) -> dict[str, bytes]:
        """What tasks of these bundles said when they failed."""
        return self._queries.attempts(session_id, bundle_ids)

    def attempts_of_root(self, session_id: str, root: int, limit: int) -> list[bytes]:
        """What tasks of a root and its descendants said when they failed."""
        return self._queries.attempts_of_root(session_id, root, limit)

    def history(self, session_id: str) -> list[AuditEntry]:
        """The session's transitions, oldest first."""
        return self._queries.history(session_id)

    # Agents

    def beat(self, agent: AgentRecord, *, size: PoolSize | None = None, usage: Sequence[FunctionUsage] = ()) -> None:
        """Write what an agent says of itself, of its pool and of what it has measured."""
        self._agent_records.beat(agent, size, usage)

    def forget_agent(self, agent_id: str) -> None:
        """An agent has left."""
        self._agent_records.forget_agent(agent_id)

    def agents(self, now: float) -> list[AgentRecord]:
        """Agents heard of within one lease time."""
        return self._agent_records.agents(now)

    # Sizes

    def pools(self) -> list[PoolSize]:
        """The sizes of pools whose agents have told them, by name."""
        return self._usage_rows.pools()

    def usage(self, prefix: str = "", *, now: float) -> list[FunctionUsage]:
        """What agents have measured of functions whose names begin so."""
        return self._usage_rows.usage(prefix, now)
