"""The session store on DynamoDB: each write is one conditional step, each condition part of the write."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from htcgrid_core.adapters.aws.dynamodb.agents import AgentRecords
from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems
from htcgrid_core.adapters.aws.dynamodb.bundle_queries import BundleQueries
from htcgrid_core.adapters.aws.dynamodb.committing import Committing
from htcgrid_core.adapters.aws.dynamodb.damage import of_one_session
from htcgrid_core.adapters.aws.dynamodb.early_children import EarlyChildren
from htcgrid_core.adapters.aws.dynamodb.ended_sessions import ended
from htcgrid_core.adapters.aws.dynamodb.ending import Ending
from htcgrid_core.adapters.aws.dynamodb.held_leases import HeldLeases
from htcgrid_core.adapters.aws.dynamodb.holding import Holding
from htcgrid_core.adapters.aws.dynamodb.leasing import Leasing, Wish
from htcgrid_core.adapters.aws.dynamodb.page_order import PageOrder
from htcgrid_core.adapters.aws.dynamodb.page_queries import PageQueries
from htcgrid_core.adapters.aws.dynamodb.retries import pause
from htcgrid_core.adapters.aws.dynamodb.root_bundles import RootBundles
from htcgrid_core.adapters.aws.dynamodb.root_ranges import RootRanges
from htcgrid_core.adapters.aws.dynamodb.row_cache import RowCache
from htcgrid_core.adapters.aws.dynamodb.sealing import Sealing
from htcgrid_core.adapters.aws.dynamodb.session_queries import SessionQueries
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.submitting import Submitting
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.usage import UsageRows
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

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoStore:
    """Sessions, bundles and outcomes of one table: the port over its parts. May be used from many threads.

    Args:
        client: gives boto3's DynamoDB client; called for each call, so that a forked child gets one of its own.
        table: its name (``schema.create_table`` says how it is made).
        lanes: over how many partitions a session's bundles and counters are spread, at most 98; if that is not said, as
            many as its agents need.
        audit: makes the entries of what is done to sessions.
        whole_lanes: the same for sessions that are written in one step, which are small.
        sleep: waits before a call is tried again, for a number of seconds.

    Attributes:
        table: what all parts read and write.
    """

    def __init__(
        self,
        client: Callable[[], DynamoDBClient],
        table: str,
        *,
        lanes: int | None = None,
        whole_lanes: int = 1,
        audit: AuditItems = AuditItems(),  # noqa: B008 - a constant
        sleep: Callable[[float], None] = pause,
    ) -> None:
        self.table = Table(client, table, sleep=sleep)
        held_leases = HeldLeases(time.monotonic)
        row_cache: RowCache[SessionRow] = RowCache()
        rows = SessionRows(self.table, row_cache, held_leases)
        sealing = Sealing(self.table, rows, audit)
        early_children = EarlyChildren(self.table)
        page_order = PageOrder(self.table)
        roots = RootRanges(self.table)
        self._submitting = Submitting(self.table, rows, sealing, audit, lanes=lanes, whole_lanes=whole_lanes)
        self._root_bundles = RootBundles(self.table, sealing)
        self._leasing = Leasing(self.table, rows, held_leases, early_children)
        self._committing = Committing(
            self.table, rows, row_cache, held_leases, page_order, early_children, audit, own_lane=secrets.randbits(32)
        )
        self._ending = Ending(self.table, rows, sealing, audit)
        self._holding = Holding(self.table, rows, page_order, audit)
        self._session_queries = SessionQueries(self.table, rows, audit)
        self._bundle_queries = BundleQueries(self.table, rows, roots, early_children)
        self._page_queries = PageQueries(self.table, rows, roots, page_order)
        self._agent_records = AgentRecords(self.table)
        self._usage_rows = UsageRows(self.table)

    # Submit

    def create_session(self, record: SessionRecord, *, actor: str = SUBMITTER) -> SessionRecord:
        """Write a SUBMITTED session unless its id exists; return the row as it then is."""
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
        """Write a small session, bundles and all, RUNNING, in one step; a session that exists is returned as it is."""
        return self._submitting.create_whole(record, bundles, actor, digest=digest, tolerated=tolerated)

    def sync(self) -> None:
        """Nothing: DynamoDB answers a write when it is durable."""

    def put_bundles(self, session_id: str, bundles: Sequence[tuple[Bundle, Block]], now: float) -> None:
        """Write roots and their blocks and add their tasks to the total; those that exist are left alone."""
        self._root_bundles.put(session_id, bundles, now)

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
        """SUBMITTED becomes RUNNING. An acknowledged session is returned as it is."""
        return self._submitting.acknowledge(
            session_id, actor, bundles=bundles, digest=digest, tolerated=tolerated, now=now
        )

    # Sessions

    def session(self, session_id: str, now: float) -> SessionRecord:
        """One session's row."""
        return self._session_queries.session(session_id, now)

    def progress(self, session_ids: Sequence[str], now: float) -> list[SessionRecord]:
        """Up to 100 sessions' rows in one call, in the order asked for; unknown ones are left out."""
        return self._session_queries.progress(session_ids, now)

    def sessions(
        self, now: float, *, states: Sequence[SessionState] = (), limit: int = 100, before: float | None = None
    ) -> list[SessionRecord]:
        """Sessions, newest first; ``before`` is the submitted_at to go on from."""
        return self._session_queries.sessions(now, states=states, limit=limit, before=before)

    def live_sessions(self) -> list[SessionRecord]:
        """Sessions that have not ended: all that the reconciler looks at."""
        return self._session_queries.live_sessions()

    def ended(self, after: str | float, now: float, limit: int) -> EndedPage:
        """Sessions that have ended, from a cursor or a time on."""
        return ended(self.table, after, now, limit)

    def expire(self, now: float, limit: int) -> list[Deleted]:
        """Delete ended sessions whose retention has passed; their blobs are the caller's."""
        return self._session_queries.expire(now, limit)

    def delete(self, session_id: str, folder: str, now: float, *, actor: str, reason: str = "") -> None:
        """Delete one that has ended, before its time; its blobs are the caller's."""
        self._session_queries.delete(session_id, folder, now, actor=actor, reason=reason)

    def hold(self, session_id: str, now: float, *, actor: str, reason: str) -> SessionRecord:
        """Keep one that has ended until it is released."""
        return self._holding.hold(session_id, now, actor, reason)

    def release(self, session_id: str, now: float, *, actor: str, reason: str = "") -> SessionRecord:
        """Let its retention go on."""
        return self._holding.release(session_id, now, actor, reason)

    @of_one_session
    def history(self, session_id: str) -> list[AuditEntry]:
        """The session's transitions, oldest first."""
        return self._session_queries.history(session_id)

    # Leases and commits

    @of_one_session
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
        wish = Wish(token, owner, now, until)
        return self._leasing.claim(session_id, bundle_id, wish, generation)

    def renew(self, renewals: Sequence[Renewal]) -> list[Renewed]:
        """Move leases' ends; one answer for each, in order."""
        return self._leasing.renew(renewals)

    def commit(self, commit: Commit) -> SessionRecord:
        """Mark the bundle done, add to the counters and create the children, all or nothing."""
        return self._committing.commit(commit)

    # Transitions

    def adopt(self, session_id: str, owner: str, now: float, *, actor: str = SUBMITTER) -> SessionRecord:
        """Make ``owner`` the session's owner; return the row as it then is. One that has ended keeps its owner."""
        return self._ending.adopt(session_id, owner, now, actor)

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
        """Apply ``event`` if the lifecycle allows it in the state the row is in; return the row as it then is."""
        return self._ending.advance(session_id, event, now=now, actor=actor, reason=reason, owner=owner)

    # Bundles and pages

    @of_one_session
    def has_live_lease(self, session_id: str, now: float) -> bool:
        """Whether any agent may still be running tasks of this session."""
        return self._bundle_queries.has_live_lease(session_id, now)

    @of_one_session
    def runnable(self, session_id: str, now: float, limit: int) -> list[Hint]:
        """Bundles that are ready or whose lease has lapsed, and since when."""
        return self._bundle_queries.runnable(session_id, now, limit)

    @of_one_session
    def open_bundles(self, session_id: str, after: str, limit: int) -> list[OpenBundle]:
        """Bundles that are not done, by id, after id ``after``."""
        return self._bundle_queries.open_bundles(session_id, after, limit)

    @of_one_session
    def blocks(self, session_id: str, first_root: int, limit: int, *, events: bool = True) -> list[Block]:
        """Blocks of roots from ``first_root`` on, in order; without ``events``, their payload may be empty."""
        return self._bundle_queries.blocks(session_id, first_root, limit, events=events)

    @of_one_session
    def outcome_pages(self, session_id: str, after: int, limit: int, *, failed_only: bool = False) -> list[OutcomePage]:
        """Pages in commit order, after cursor ``after`` (0 to begin)."""
        return self._page_queries.outcome_pages(session_id, after, limit, failed_only=failed_only)

    @of_one_session
    def root_pages(self, session_id: str, first_root: int, last_root: int) -> list[OutcomePage]:
        """All pages of roots ``first_root <= root < last_root``."""
        return self._page_queries.root_pages(session_id, first_root, last_root)

    @of_one_session
    def committed(self, session_id: str, after: int, limit: int) -> list[Committed]:
        """What ``outcome_pages`` would return, without the pages."""
        return self._page_queries.committed(session_id, after, limit)

    @of_one_session
    def bundle_pages(self, session_id: str, bundle_ids: Sequence[str]) -> list[OutcomePage]:
        """The pages of some bundles."""
        return self._page_queries.bundle_pages(session_id, bundle_ids)

    @of_one_session
    def attempts(self, session_id: str, bundle_ids: Sequence[str]) -> dict[str, bytes]:
        """What tasks of these bundles said when they failed."""
        return self._bundle_queries.attempts(session_id, bundle_ids)

    @of_one_session
    def attempts_of_root(self, session_id: str, root: int, limit: int) -> list[bytes]:
        """What tasks of a root and its descendants said when they failed."""
        return self._bundle_queries.attempts_of_root(session_id, root, limit)

    # Agents

    def beat(self, agent: AgentRecord, *, size: PoolSize | None = None, usage: Sequence[FunctionUsage] = ()) -> None:
        """Write what an agent says of itself, of its pool and of what it has measured."""
        self._agent_records.beat(agent, size, usage)

    def forget_agent(self, agent_id: str) -> None:
        """An agent has left."""
        self._agent_records.forget(agent_id)

    def agents(self, now: float) -> list[AgentRecord]:
        """Agents heard of within one lease time; it may lag by a second, for half the price."""
        return self._agent_records.live(now)

    # Sizes

    def pools(self) -> list[PoolSize]:
        """The sizes of pools whose agents have told them, by name."""
        return self._usage_rows.pools()

    def usage(self, prefix: str = "", *, now: float) -> list[FunctionUsage]:
        """What agents have measured of functions whose names begin so."""
        return self._usage_rows.usage(prefix, now)
