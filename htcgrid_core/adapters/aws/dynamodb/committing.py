"""Commit on DynamoDB: one transaction of bundles, a lane's counters and the bundles' children."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems
from htcgrid_core.adapters.aws.dynamodb.coalescing import Coalescer
from htcgrid_core.adapters.aws.dynamodb.commit_transaction import (
    CHILDREN_IN_TRANSACTION,
    COMMITS_WEIGHT,
    CommitPart,
    commit_part,
    lane_write,
    sorted_out,
)
from htcgrid_core.adapters.aws.dynamodb.early_children import EarlyChildren
from htcgrid_core.adapters.aws.dynamodb.held_leases import HeldLeases, is_tidying
from htcgrid_core.adapters.aws.dynamodb.keys import Place
from htcgrid_core.adapters.aws.dynamodb.page_order import PageOrder
from htcgrid_core.adapters.aws.dynamodb.row_cache import RowCache
from htcgrid_core.adapters.aws.dynamodb.row_counting import row_write, went_on
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed
from htcgrid_core.domain.bundle import Child, root_of
from htcgrid_core.domain.errors import GridUnavailable, LeaseLost
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import Commit

TRIES = 100  # each time at least one other's commit was written


class Committing:
    """Commits bundles of agents.

    Threads of one process that commit bundles of one session share transactions, and one write of the counters.

    Args:
        cache: rows as they were read last, to which commits are added.
        own_lane: a number that decides in which lane this process counts; they are summed up, so any will do.
    """

    def __init__(
        self,
        table: Table,
        rows: SessionRows,
        cache: RowCache[SessionRow],
        held_leases: HeldLeases,
        page_order: PageOrder,
        early_children: EarlyChildren,
        audit: AuditItems,
        *,
        own_lane: int,
    ) -> None:
        self._table = table
        self._rows = rows
        self._cache = cache
        self._held_leases = held_leases
        self._page_order = page_order
        self._early_children = early_children
        self._audit = audit
        self._own_lane = own_lane
        self._commits: Coalescer[CommitPart, SessionRecord] = Coalescer(COMMITS_WEIGHT)

    def commit(self, commit: Commit) -> SessionRecord:
        """Mark the bundle done, add to the counters and create the children, all or nothing.

        While this process holds other leases of the session, so that it cannot be over, the counters in the answer may
        lag behind what other processes commit.
        """
        place = self._rows.place(commit.session_id)
        root = root_of(commit.bundle_id)
        if place is None or root < 0:
            raise _lost(commit)
        children = list(commit.children)
        if len(children) > CHILDREN_IN_TRANSACTION - (commit.attempts is not None):
            if not self._write_before(place, commit, [child for child in children if child.lease is None]):
                return self._rows.get(commit.session_id).record
            children = [child for child in children if child.lease is not None]  # those that its agent goes on with
        part = commit_part(place, commit, children)
        return self._commits.run(place, part, part.weight, self._commit_coalesced)

    def _commit_coalesced(self, parts: Sequence[CommitPart]) -> list[SessionRecord | Exception]:
        """Parts of one session, each all or nothing; what one of them lost costs the others nothing but another try."""
        place, lane = parts[0].place, self._own_lane % parts[0].place.lanes
        waiting, lost = list(parts), set[CommitPart]()
        read, is_repeated = self._cache.number(place.session_id), False
        after: SessionRow | None = None  # as what was written left it
        for _ in range(TRIES):
            if not waiting:
                break
            # One write of an item in a transaction: of two commits of one bundle, the first comes first.
            going = list({part.commit.bundle_id: part for part in reversed(waiting)}.values())
            commits = [part.commit for part in going]
            if place.lanes == 1:
                (counters, *audited), then = row_write(self._row(place), commits, self._audit)
            else:
                counters, audited, then = lane_write(place, lane, commits), [], None
            try:
                self._table.transact([counters, *(write for part in going for write in part.writes), *audited])
                settled, after = set(going), then
                if after is not None:
                    self._cache.put(place.session_id, after)
            except ConditionFailed as failed:
                gone, before = sorted_out(going, self._refused(place, failed.items))
                lost |= gone
                settled = gone | before
                is_repeated |= bool(before)
            waiting = [part for part in waiting if part not in settled]
        if waiting:
            raise GridUnavailable(f"session {place.session_id}: others keep committing to it; try again")
        if lost:
            self._rows.forget_place(place.session_id)
            self._held_leases.released(place, [part.commit.bundle_id for part in lost])
        done = [part.commit for part in parts if part not in lost]
        if not done:
            record = None
        elif after is None or is_repeated:
            record = self._after(place, lane, done, 0 if is_repeated else read)
        else:
            record = self._after_row(place, after, done)
        return [_lost(part.commit) if part in lost or record is None else record for part in parts]

    def _row(self, place: Place) -> SessionRow:
        """The row of a session with a single lane, as this process knows it."""
        known = self._cache.get(place.session_id)
        if known is None or not known.place.has_items_of(place):
            known = self._rows.find(place.session_id)
        if known is None or not known.place.has_items_of(place):  # it was deleted, and may have been made anew
            raise LeaseLost(f"session {place.session_id} is not there any more; this agent's work on it is dropped")
        return known

    def _refused(self, place: Place, found: Sequence[Item | None]) -> Sequence[Item | None]:
        """What broke conditions, but for a row that only went on after it was read: it is known then."""
        if place.lanes > 1 or not went_on(place, found[0]):
            return found
        row = items.readable(place.session_id, found[0] or {})
        self._cache.put(place.session_id, SessionRow(place.session_id, row))
        return [None, *found[1:]]

    def _after_row(self, place: Place, after: SessionRow, commits: Sequence[Commit]) -> SessionRecord:
        """The row of a session with a single lane after commits: what was written says what it is."""
        must_read = self._held_leases.committed(place, place.lanes, commits)
        return self._read(place, commits) if must_read and not after.ended else after.record

    def _after(self, place: Place, lane: int, commits: Sequence[Commit], read: int) -> SessionRecord:
        """The session's row after commits: read if it may be over, else as it is known here.

        Args:
            read: the number of what was known before they were written; 0 if some were written earlier.
        """
        must_read = self._held_leases.committed(place, place.lanes, commits)
        known = self._cache.add(place.session_id, read, lambda row: row.counting(place, lane, commits))
        if known is not None and known.place == place and not must_read:
            return known.record
        return self._read(place, commits)

    def _read(self, place: Place, commits: Sequence[Commit]) -> SessionRecord:
        """The row; long logs are cut, if it is these commits' turn."""
        row = self._rows.get(place.session_id)
        if row.place == place and any(is_tidying(commit.bundle_id) for commit in commits):
            lanes = [row.item] if place.lanes == 1 else [row.lane(number) for number in range(place.lanes)]
            with contextlib.suppress(GridUnavailable):  # the commit is written; another one will trim
                self._page_order.trim(place, lanes, commits[-1].now)
        return row.record

    def _write_before(self, place: Place, commit: Commit, children: list[Child]) -> bool:
        """Write more children than a transaction takes before it; until their parent is done they do not exist.

        Returns:
            False if the commit was applied before.
        """
        parent = self._table.get(place.bundle_key(commit.bundle_id))
        if parent is None or parent.get("t") != commit.token:
            raise _lost(commit)
        if "d" in parent:
            return False
        self._early_children.write(place, commit, children)
        return True


def _lost(commit: Commit) -> LeaseLost:
    return LeaseLost(
        f"bundle {commit.bundle_id} of session {commit.session_id} was committed, reclaimed or ended by another; "
        "this agent's work on it is dropped"
    )
