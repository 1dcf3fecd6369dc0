"""Commit on DynamoDB: one transaction of bundles, a lane's counters and the bundles' children."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.coalescing import Coalescer
from htcgrid_core.adapters.aws.dynamodb.held_leases import is_tidying
from htcgrid_core.adapters.aws.dynamodb.items import Place, root_of
from htcgrid_core.adapters.aws.dynamodb.page_order import Directory, log_entry
from htcgrid_core.adapters.aws.dynamodb.schema import TTL
from htcgrid_core.adapters.aws.dynamodb.session_rows import Rows
from htcgrid_core.adapters.aws.dynamodb.table import TRANSACTION, ConditionFailed, Write
from htcgrid_core.domain.bundle import Child
from htcgrid_core.domain.errors import GridUnavailable, LeaseLost
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import Commit

CHILDREN_IN_TRANSACTION = TRANSACTION - 2
WEIGHT_BYTES = 32_000  # of outcomes, which weigh as much as another item: a transaction takes 4 MB


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """One commit, as a part of a transaction: its bundle, then its children."""

    commit: Commit
    place: Place
    writes: Sequence[Write]

    @property
    def weight(self) -> int:
        """In items of a transaction."""
        outcomes = self.commit.outcomes
        return len(self.writes) + (0 if outcomes is None else outcomes.size // WEIGHT_BYTES)


class Committing(Rows):
    """The part of the store that agents commit with.

    Threads of one process that commit bundles of one session share transactions, and one write of the counters.
    """

    _directory: Directory
    _commits: Coalescer[_Part, SessionRecord]
    _own_lane: int  # lanes are summed up, so that it may count in any

    def commit(self, commit: Commit) -> SessionRecord:
        """Mark the bundle done, add to the counters and create the children, all or nothing.

        While this process holds other leases of the session, so that it cannot be over, the counters in the answer may
        lag behind what other processes commit.
        """
        place = self._place(commit.session_id)
        root = root_of(commit.bundle_id)
        if place is None or root < 0:
            raise _lost(commit)
        children = list(commit.children)
        if len(children) > CHILDREN_IN_TRANSACTION:
            if not self._write_before(place, commit, [child for child in children if child.lease is None]):
                return self._get(commit.session_id).record
            children = [child for child in children if child.lease is not None]  # those that its agent goes on with
        part = _Part(commit, place, [_done(place, commit), *(_put(place, child, commit) for child in children)])
        return self._commits.go(place, part, part.weight, self._commit_together)

    def _commit_together(self, parts: Sequence[_Part]) -> list[SessionRecord | Exception]:
        """Parts of one session, each all or nothing; what one of them lost costs the others nothing but another try."""
        place, lane = parts[0].place, self._own_lane % parts[0].place.lanes
        waiting, lost = list(parts), set[_Part]()
        read, is_repeated = self._seen.number(place.session_id), False
        while waiting:
            # One write of an item in a transaction: of two commits of one bundle, the first comes first.
            going = list({part.commit.bundle_id: part for part in reversed(waiting)}.values())
            counters = _counted(place, lane, [part.commit for part in going])
            try:
                self._table.transact([counters, *(write for part in going for write in part.writes)])
                settled = set(going)
            except ConditionFailed as failed:
                gone, before = _sorted_out(going, failed.items)
                lost |= gone
                settled = gone | before
                is_repeated |= bool(before)
            waiting = [part for part in waiting if part not in settled]
        if lost:
            self._places.pop(place.session_id, None)  # the session may have been made anew
            self._working.released(place, [part.commit.bundle_id for part in lost])
        done = [part.commit for part in parts if part not in lost]
        record = self._after(place, lane, done, 0 if is_repeated else read) if done else None
        return [_lost(part.commit) if part in lost or record is None else record for part in parts]

    def _after(self, place: Place, lane: int, commits: Sequence[Commit], read: int) -> SessionRecord:
        """The session's row after commits: read if it may be over, else as it is known here.

        Args:
            read: the number of what was known before they were written; 0 if some were written earlier.
        """
        must_read = self._working.committed(place, place.lanes, commits)
        known = self._seen.add(place.session_id, read, lambda row: row.counting(place, lane, commits))
        if known is not None and known.place == place and not must_read:
            return known.record
        row = self._get(place.session_id)
        if row.place == place and any(is_tidying(commit.bundle_id) for commit in commits):
            lanes = [row.item] if place.lanes == 1 else [row.lane(number) for number in range(place.lanes)]
            with contextlib.suppress(GridUnavailable):  # the commit is written; another one will trim
                self._directory.trim(place, lanes, commits[-1].now)
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
        keys = {place.bundle_key(child.bundle.bundle_id): child for child in children}
        written = self._table.get_many(list(keys), ("par",))  # by an earlier try
        born = {"par": commit.bundle_id, "pt": commit.token}
        for key in keys.keys() - written.keys():
            item = items.new_child(keys[key], place.ttl(commit.now))
            with contextlib.suppress(ConditionFailed):  # by another that sends the same commit
                self._table.write(Write(key, "attribute_not_exists(#pk)", item={**item, **born}))
        return True


def _sorted_out(parts: Sequence[_Part], found: Sequence[Item | None]) -> tuple[set[_Part], set[_Part]]:
    """Of a transaction whose conditions failed: the parts that are lost, and those that were written before.

    Args:
        found: for each write, the counters' first, the item that broke its condition.
    """
    is_closed, rest = found[0] is not None, iter(found[1:])
    lost, before = set[_Part](), set[_Part]()
    for part in parts:
        broken = list(islice(rest, len(part.writes)))
        bundle = broken[0]
        if bundle is not None and "d" in bundle and bundle["t"] == part.commit.token:
            before.add(part)
        elif is_closed or any(item is not None for item in broken):
            lost.add(part)
    return lost, before


def _done(place: Place, commit: Commit) -> Write:
    """The bundle's item: done under its token, with its outcomes and the names of its children."""
    fields: Item = {"d": True, TTL: place.ttl(commit.now)}
    if commit.children:
        fields["kids"] = items.children_text([child.bundle.bundle_id for child in commit.children])
    if commit.outcomes is not None:
        fields |= {"ok": commit.completed, "bad": commit.failed, **items.payload_attributes(commit.outcomes)}
    return Write(
        place.bundle_key(commit.bundle_id),
        "#t = :token AND attribute_not_exists(#d)",
        "SET " + ", ".join(f"#{name} = :{name}" for name in fields),
        arguments={"token": commit.token, **fields},
    )


def _put(place: Place, child: Child, commit: Commit) -> Write:
    """A child's item."""
    item = items.new_child(child, place.ttl(commit.now))
    return Write(place.bundle_key(child.bundle.bundle_id), "attribute_not_exists(#pk)", item=item)


def _counted(place: Place, lane: int, commits: Sequence[Commit]) -> Write:
    """The counters of a lane, or of the session's row if that is the only one."""
    completed, failed = sum(commit.completed for commit in commits), sum(commit.failed for commit in commits)
    now = max(commit.now for commit in commits)
    entries = [log_entry(commit.bundle_id, commit.failed) for commit in commits if commit.outcomes is not None]
    arguments: dict[str, Any] = {"now": now, "ok": completed, "bad": failed}
    sets, adds = "#upd = :now", "#ok :ok, #bad :bad"
    if entries:
        sets += ", #log = list_append(if_not_exists(#log, :none), :entries)"
        arguments |= {"none": [], "entries": entries}
    if place.lanes == 1:
        condition = "#gen = :gen AND attribute_exists(#live)"
        adds += ", #pend :pend"
        arguments |= {"gen": place.generation, "pend": -completed - failed}
    else:
        condition = "attribute_not_exists(#closed)"
        sets += f", #{TTL} = :ttl"
        arguments["ttl"] = place.ttl(now)
    return Write(place.counter_key(lane), condition, f"SET {sets} ADD {adds}", arguments=arguments)


def _lost(commit: Commit) -> LeaseLost:
    return LeaseLost(
        f"bundle {commit.bundle_id} of session {commit.session_id} was committed, reclaimed or ended by another; "
        "this agent's work on it is dropped"
    )
