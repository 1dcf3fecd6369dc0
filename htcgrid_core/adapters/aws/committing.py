"""Commit on DynamoDB: one transaction of the bundle, its lane's counters and its children."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from threading import Lock
from typing import Any

from htcgrid_core.adapters.aws import items
from htcgrid_core.adapters.aws.directory import Directory, log_entry
from htcgrid_core.adapters.aws.items import Place, root_of
from htcgrid_core.adapters.aws.rows import Rows
from htcgrid_core.adapters.aws.table import TRANSACTION, ConditionFailed, Write
from htcgrid_core.adapters.aws.tables import TTL
from htcgrid_core.adapters.aws.wire import Item
from htcgrid_core.domain.bundle import Child
from htcgrid_core.domain.errors import GridUnavailable, LeaseLost, SessionNotFound
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import Commit

CHILDREN_IN_TRANSACTION = TRANSACTION - 2


class Committing(Rows):
    """The part of the store that agents commit with."""

    _directory: Directory
    _turns: Sequence[Lock]  # threads of one process wait for each other here, so that their transactions do not meet

    def commit(self, commit: Commit) -> SessionRecord:
        """Mark the bundle done, add to the counters and create the children, all or nothing."""
        place = self._place(commit.session_id)
        root = root_of(commit.bundle_id)
        if place is None or root < 0:
            raise _lost(commit)
        lane = place.lane_of(root)
        children = list(commit.children)
        if len(children) > CHILDREN_IN_TRANSACTION:
            if not self._write_before(place, commit, [child for child in children if child.lease is None]):
                return self._after(commit, place, lane)
            children = [child for child in children if child.lease is not None]  # those that its agent goes on with
        puts = [
            Write(
                place.bundle_key(child.bundle.bundle_id),
                "attribute_not_exists(#pk)",
                item=items.new_child(child, place.ttl(commit.now)),
            )
            for child in children
        ]
        try:
            with self._turns[hash(place.counter_key(lane)) % len(self._turns)]:
                self._table.transact([_done(place, commit), _counted(place, lane, commit), *puts])
        except ConditionFailed as failed:
            bundle = failed.items[0]
            if bundle is None or "d" not in bundle or bundle["t"] != commit.token:
                self._places.pop(commit.session_id, None)  # the session may have been made anew
                raise _lost(commit) from None
        return self._after(commit, place, lane)

    def _after(self, commit: Commit, place: Place, lane: int) -> SessionRecord:
        """The session's row after its commit; a log that became long is trimmed."""
        row = self._find(commit.session_id)
        if row is None:
            raise SessionNotFound(commit.session_id)
        if row.place == place:
            counters = row.item if place.lanes == 1 else row.lane(lane)
            with contextlib.suppress(GridUnavailable):  # the commit is written; another one will trim
                self._directory.trim(place, lane, counters, commit.now)
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


def _counted(place: Place, lane: int, commit: Commit) -> Write:
    """The counters of its lane, or of the session's row if that is the only one."""
    arguments: dict[str, Any] = {"now": commit.now, "ok": commit.completed, "bad": commit.failed}
    sets, adds = "#upd = :now", "#ok :ok, #bad :bad"
    if commit.outcomes is not None:
        sets += ", #log = list_append(if_not_exists(#log, :none), :entry)"
        arguments |= {"none": [], "entry": [log_entry(commit.bundle_id, commit.failed)]}
    if place.lanes == 1:
        condition = "#gen = :gen AND attribute_exists(#live)"
        adds += ", #pend :pend"
        arguments |= {"gen": place.generation, "pend": -commit.completed - commit.failed}
    else:
        condition = "attribute_not_exists(#closed)"
        sets += f", #{TTL} = :ttl"
        arguments["ttl"] = place.ttl(commit.now)
    return Write(place.counter_key(lane), condition, f"SET {sets} ADD {adds}", arguments=arguments)


def _lost(commit: Commit) -> LeaseLost:
    return LeaseLost(
        f"bundle {commit.bundle_id} of session {commit.session_id} was committed, reclaimed or ended by another; "
        "this agent's work on it is dropped"
    )
