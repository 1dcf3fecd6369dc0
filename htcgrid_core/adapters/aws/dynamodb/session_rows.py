"""Sessions' rows as all parts of the store read them: with their lanes, and never as they were once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.coalescing import Coalescer
from htcgrid_core.adapters.aws.dynamodb.held_leases import HeldLeases
from htcgrid_core.adapters.aws.dynamodb.items import Place, session_key
from htcgrid_core.adapters.aws.dynamodb.row_cache import RowCache
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT
from htcgrid_core.adapters.aws.dynamodb.table import Key, Table
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SESSION, SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import Commit

PLACES = 4096  # sessions whose places a process remembers


@dataclass(frozen=True)
class Row:
    """One session as it was read.

    Attributes:
        item: its row.
        lanes: the counters of its lanes, if it has several and is live.
    """

    session_id: str
    item: Item
    lanes: Sequence[Item] = field(default_factory=list)

    @property
    def state(self) -> SessionState:
        """Where it is in its life."""
        return SessionState(self.item["st"])

    @property
    def ended(self) -> bool:
        """Whether the state is terminal."""
        return SESSION.is_terminal(self.state)

    @cached_property
    def place(self) -> Place:
        """Where its items are."""
        return items.place_of(self.session_id, self.item)

    @property
    def pages(self) -> int | None:
        """How many pages were committed; None if the lanes were not read."""
        lanes = [self.item] if self.place.lanes == 1 else self.lanes
        return sum(lane.get("cut", 0) + len(lane.get("log", ())) for lane in lanes) if lanes else None

    def lane(self, number: int) -> Item:
        """The counters of one of several lanes."""
        partition = self.place.partition(number)
        return next((item for item in self.lanes if item[PARTITION] == partition), {})

    @cached_property
    def record(self) -> SessionRecord:
        """The row as the port returns it."""
        return items.record_of(self.session_id, self.item, self.lanes)

    def counting(self, place: Place, number: int, commits: Sequence[Commit]) -> Row:
        """The same row after commits of one lane; unchanged if they are of another generation."""
        if self.place != place:
            return self
        if self.place.lanes == 1:
            return replace(self, item=_counting(self.item, commits))
        partition, sort = self.place.counter_key(number)
        counted = _counting(self.lane(number) or {PARTITION: partition, SORT: sort}, commits)
        return replace(self, lanes=[counted, *(lane for lane in self.lanes if lane[PARTITION] != partition)])


def _counting(counters: Item, commits: Sequence[Commit]) -> Item:
    completed, failed = sum(commit.completed for commit in commits), sum(commit.failed for commit in commits)
    found = {
        **counters,
        "ok": counters.get("ok", 0) + completed,
        "bad": counters.get("bad", 0) + failed,
        "upd": max(commit.now for commit in commits),
    }
    return found | ({"pend": counters["pend"] - completed - failed} if "pend" in counters else {})


class Rows:
    """The part of the store that the others read sessions with."""

    _table: Table
    _places: dict[str, Place]
    _seen: RowCache[Row]
    _working: HeldLeases
    _reads: Coalescer[Sequence[Key], dict[Key, Item]]

    def _find(self, session_id: str) -> Row | None:
        """A session's row with its counters; None if there is none."""
        found = self._find_many([session_id])
        return found[0] if found else None

    def _get(self, session_id: str) -> Row:
        """A session's row with its counters.

        Raises:
            SessionNotFound: there is none.
        """
        row = self._find(session_id)
        if row is None:
            raise SessionNotFound(session_id)
        return row

    def _with_row(self, place: Place, keys: Sequence[Key]) -> tuple[Row | None, list[Item | None]]:
        """Items of a session together with its row, in one call, and with what other threads ask for just now.

        The counters of several lanes are those that this process saw last, since reading them costs more than all else.
        """
        own = session_key(place.session_id)
        seen = self._seen.get(place.session_id)
        along = place.counter_keys() if place.lanes > 1 and (seen is None or seen.place != place) else []
        asked = [own, *keys, *along]
        found = self._reads.go("claims", asked, len(asked), self._read_together)
        row = self._row(place.session_id, found, were_read=bool(along)) if own in found else None
        return row, [found.get(key) for key in keys]

    def _read_together(self, asked: Sequence[Sequence[Key]]) -> list[dict[Key, Item] | Exception]:
        found = self._table.get_many([key for keys in asked for key in keys])
        return [found] * len(asked)

    def _rows_only(self, session_ids: Sequence[str]) -> list[Row]:
        """Up to a hundred rows without the counters of their lanes: for their states and places."""
        found = self._table.get_many([session_key(session_id) for session_id in session_ids])
        known = [session_id for session_id in session_ids if session_key(session_id) in found]
        return [self._row(session_id, found, were_read=False) for session_id in known]

    def _find_many(self, session_ids: Sequence[str]) -> list[Row]:
        """Rows in the order asked for, unknown ones left out: one call for a hundred, and one for the lanes."""
        places = [place for session_id in session_ids if (place := self._places.get(session_id)) and place.lanes > 1]
        keys = [session_key(session_id) for session_id in session_ids]
        # The lanes of sessions that this process knows come along; they are read no earlier than the rows.
        along = [key for place in places for key in place.counter_keys()] if len(session_ids) == 1 else []
        found = self._table.get_many([*keys, *along])
        known = [session_id for session_id in session_ids if session_key(session_id) in found]
        rows = [self._row(session_id, found, were_read=bool(along)) for session_id in known]
        missing = [
            key
            for row in rows
            if row.place.lanes > 1 and not row.ended
            for key in row.place.counter_keys()
            if key not in along
        ]
        if not missing:
            return rows
        found |= self._table.get_many(missing)
        return [self._row(row.session_id, found, were_read=True) for row in rows]

    def _row(self, session_id: str, found: dict[Key, Item], *, were_read: bool) -> Row:
        """A row of what was read; if several lanes were not, with what was seen of them last."""
        item = found[session_key(session_id)]
        place = items.place_of(session_id, item)
        if len(self._places) >= PLACES:
            self._places.clear()
        self._places[session_id] = place
        if place.lanes == 1:
            row = Row(session_id, item)
        elif were_read:
            row = Row(session_id, item, [found[key] for key in place.counter_keys() if key in found])
        else:
            seen = self._seen.get(session_id)
            return Row(session_id, item, seen.lanes if seen is not None and seen.place == place else ())
        self._working.read(place)
        self._seen.put(session_id, row)
        return row

    def _place(self, session_id: str) -> Place | None:
        """Where a session's items are, remembered from an earlier read; every write checks that it still is so."""
        place = self._places.get(session_id)
        if place is None:
            row = self._find(session_id)
            place = None if row is None else row.place
        return place

    def _born(self, place: Place, found: Sequence[Item]) -> list[Item]:
        """Those bundles whose commit has happened: the many children of one are written before it."""
        parents = {item["par"] for item in found if "par" in item}
        if not parents:
            return list(found)
        done = self._table.get_many([place.bundle_key(parent) for parent in parents], ("t", "d"))

        def is_born(item: Item) -> bool:
            parent = done.get(place.bundle_key(item["par"]), {})
            return "d" in parent and parent["t"] == item["pt"]

        return [item for item in found if "par" not in item or is_born(item)]
