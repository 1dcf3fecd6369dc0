"""Sessions' rows as all parts of the store read them: with their lanes, and never as they were once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.coalescing import Coalescer
from htcgrid_core.adapters.aws.dynamodb.held_leases import HeldLeases
from htcgrid_core.adapters.aws.dynamodb.keys import Place, session_key
from htcgrid_core.adapters.aws.dynamodb.row_cache import SMALL_RESULTS, RowCache
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT, Key
from htcgrid_core.adapters.aws.dynamodb.table import BATCH_READ, Table
from htcgrid_core.domain.bundle import Block, root_id
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SESSION, SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import Commit

PLACES = 4096  # sessions whose places a process remembers
FEW_ROOTS = 4  # of a small session, which are read and written together with its row


@dataclass(frozen=True)
class SessionRow:
    """One session as it was read.

    Attributes:
        item: its row.
        lanes: the counters of its lanes, if it has several and is live.
        roots: items of its root bundles by their keys, if it has few and they were read with it.
    """

    session_id: str
    item: Item
    lanes: Sequence[Item] = field(default_factory=list)
    roots: Mapping[Key, Item] = field(default_factory=dict)

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

    @property
    def root_keys(self) -> list[Key]:
        """Of its root bundles, if they are few and of one lane; else none."""
        few = self.place.lanes == 1 and self.item["w"] <= FEW_ROOTS
        return [self.place.bundle_key(root_id(root)) for root in range(self.item["w"])] if few else []

    @property
    def has_all_pages(self) -> bool:
        """Whether all that was committed of the session is in ``roots``: what was read before it may lack some."""
        if not self.roots:
            return False
        done = [(root.get("ok", 0), root.get("bad", 0)) for root in self.roots.values()]
        return self.ended and [sum(each) for each in zip(*done, strict=True)] == [self.item["ok"], self.item["bad"]]

    def lane(self, number: int) -> Item:
        """The counters of one of several lanes."""
        partition = self.place.partition(number)
        return next((item for item in self.lanes if item[PARTITION] == partition), {})

    @cached_property
    def record(self) -> SessionRecord:
        """The row as the port returns it."""
        return items.record_of(self.session_id, self.item, self.lanes)

    def counting(self, place: Place, number: int, commits: Sequence[Commit]) -> SessionRow:
        """The same row after commits of one lane; unchanged if they are of another generation."""
        if self.place != place:
            return self
        if self.place.lanes == 1:
            log = [
                items.log_entry(commit.bundle_id, commit.failed) for commit in commits if commit.outcomes is not None
            ]
            return replace(self, item=_counting(self.item, commits) | {"log": [*self.item.get("log", ()), *log]})
        partition, sort = self.place.counter_key(number)
        counted = _counting(self.lane(number) or {PARTITION: partition, SORT: sort}, commits)
        return replace(self, lanes=[counted, *(lane for lane in self.lanes if lane[PARTITION] != partition)])


def _counting(counters: Item, commits: Sequence[Commit]) -> Item:
    completed, failed = sum(commit.completed for commit in commits), sum(commit.failed for commit in commits)
    found = {
        **counters,
        "ok": counters.get("ok", 0) + completed,
        "bad": counters.get("bad", 0) + failed,
        "re": counters.get("re", 0) + sum(commit.retrying for commit in commits),
        "sec": counters.get("sec", 0) + sum(commit.task_seconds for commit in commits),
        "nc": counters.get("nc", 0) + len(commits),
        "bo": counters.get("bo", 0) + sum(commit.output_bytes for commit in commits),
        "no": counters.get("no", 0) + sum(commit.output_blobs for commit in commits),
        "upd": max(commit.now for commit in commits),
    }
    return found | ({"pend": counters["pend"] - completed - failed} if "pend" in counters else {})


class SessionRows:
    """Reads rows, and remembers where each session's items are.

    Args:
        cache: keeps what was read, for commits that need not read.
        held_leases: are told when a session's counters were read.
    """

    def __init__(self, table: Table, cache: RowCache[SessionRow], held_leases: HeldLeases) -> None:
        self._table = table
        self._cache = cache
        self._held_leases = held_leases
        self._places: dict[str, Place] = {}
        self._results: RowCache[SessionRow] = RowCache(SMALL_RESULTS)  # with all of their pages
        self._blocks: dict[str, tuple[str, Sequence[Block]]] = {}  # by session, with its generation
        self._reads: Coalescer[Sequence[Key], dict[Key, Item]] = Coalescer(BATCH_READ)

    def find(self, session_id: str) -> SessionRow | None:
        """A session's row with its counters; None if there is none."""
        found = self.find_many([session_id])
        return found[0] if found else None

    def created(self, row: SessionRow, blocks: Sequence[Block]) -> None:
        """What was written just now need not be read."""
        if len(self._blocks) >= PLACES:
            self._blocks.clear()
        empty = [replace(block, payload=replace(block.payload, data=b"", key=None, at=None)) for block in blocks]
        self._blocks[row.session_id] = row.place.generation, empty
        self._remember(row.place)
        if row.place.lanes == 1:  # of several lanes, no write's condition would tell that the state is another by now
            self._cache.put(row.session_id, row)

    def blocks(self, place: Place, roots: range) -> Sequence[Block] | None:
        """Blocks of a session that this process wrote, without their events; None if it did not."""
        generation, blocks = self._blocks.get(place.session_id, ("", ()))
        return blocks[roots.start : roots.stop] if generation == place.generation else None

    def find_with_roots(self, session_id: str) -> SessionRow | None:
        """A session's row, with its root bundles if this process knows that they are few: for who waits for its end."""
        known = self._cache.get(session_id)
        if known is None or not (keys := known.root_keys):
            return self.find(session_id)
        found = self._table.get_many([session_key(session_id), *keys])
        if session_key(session_id) not in found:
            self.forget(session_id)
            return None
        row = self._row(session_id, found, were_read=False)
        with_roots = replace(row, roots={key: found[key] for key in keys if key in found})
        if row.place == known.place and with_roots.has_all_pages:
            self._results.put(session_id, with_roots)
        return row

    def find_ended(self, session_id: str) -> SessionRow | None:
        """A session's row, of which nothing that has ended is read again: it does not change any more."""
        known, with_roots = self._cache.get(session_id), self._results.get(session_id)
        if known is None or not known.ended:
            return self.find(session_id)
        return with_roots if with_roots is not None and with_roots.place == known.place else known

    def get(self, session_id: str) -> SessionRow:
        """A session's row with its counters.

        Raises:
            SessionNotFound: there is none.
        """
        row = self.find(session_id)
        if row is None:
            raise SessionNotFound(session_id)
        return row

    def find_with(self, place: Place, keys: Sequence[Key]) -> tuple[SessionRow | None, list[Item | None]]:
        """A session's row together with items of it, in one call, and with what other threads ask for just now.

        The counters of several lanes are those that this process read last, since reading them costs more than all
        else.
        """
        own = session_key(place.session_id)
        cached = self._cache.get(place.session_id)
        along = place.counter_keys() if place.lanes > 1 and (cached is None or cached.place != place) else []
        asked = [own, *keys, *along]
        found = self._reads.run("claims", asked, len(asked), self._read_coalesced)
        row = self._row(place.session_id, found, were_read=bool(along)) if own in found else None
        if row is None:
            self.forget(place.session_id)
        return row, [found.get(key) for key in keys]

    def _read_coalesced(self, asked: Sequence[Sequence[Key]]) -> list[dict[Key, Item] | Exception]:
        found = self._table.get_many([key for keys in asked for key in keys])
        return [found] * len(asked)

    def find_without_lanes(self, session_ids: Sequence[str]) -> list[SessionRow]:
        """Up to a hundred rows without the counters of their lanes: for their states and places."""
        found = self._table.get_many([session_key(session_id) for session_id in session_ids])
        known = [session_id for session_id in session_ids if session_key(session_id) in found]
        return [self._row(session_id, found, were_read=False) for session_id in known]

    def find_place(self, session_id: str) -> SessionRow | None:
        """One row without the counters of its lanes, and of one that has ended what is known; None if there is none."""
        known = self._cache.get(session_id)
        if known is not None and known.ended:
            return known
        found = self.find_without_lanes([session_id])
        return found[0] if found else None

    def find_many(self, session_ids: Sequence[str]) -> list[SessionRow]:
        """Rows in the order asked for, unknown ones left out: one call for a hundred, and one for the lanes."""
        places = [place for session_id in session_ids if (place := self._places.get(session_id)) and place.lanes > 1]
        keys = [session_key(session_id) for session_id in session_ids]
        # The lanes of sessions that this process knows come along; they are read no earlier than the rows.
        along = [key for place in places for key in place.counter_keys()] if len(session_ids) == 1 else []
        found = self._table.get_many([*keys, *along])
        known = [session_id for session_id in session_ids if session_key(session_id) in found]
        for session_id in set(session_ids).difference(known):
            self.forget(session_id)
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

    def _row(self, session_id: str, found: dict[Key, Item], *, were_read: bool) -> SessionRow:
        """A row of what was read; if several lanes were not, with those that are in the cache."""
        item = items.readable(session_id, found[session_key(session_id)])
        place = items.place_of(session_id, item)
        self._remember(place)
        if place.lanes == 1:
            row = SessionRow(session_id, item)
        elif were_read:
            row = SessionRow(session_id, item, [found[key] for key in place.counter_keys() if key in found])
        else:
            cached = self._cache.get(session_id)
            return SessionRow(session_id, item, cached.lanes if cached is not None and cached.place == place else ())
        self._held_leases.counters_read(place)
        self._cache.put(session_id, row)
        return row

    def _remember(self, place: Place) -> None:
        if len(self._places) >= PLACES:
            self._places.clear()
        self._places[place.session_id] = place

    def place(self, session_id: str, generation: str = "") -> Place | None:
        """Where a session's items are, remembered from an earlier read; every write checks that it still is so.

        Args:
            generation: as somebody says who knows a small session, and may be wrong: its items are looked for there,
                and where they really are once its row has been read.
        """
        place = self._places.get(session_id)
        if place is None and generation:
            return Place(session_id, generation, 1, 0.0)
        if place is None:
            row = self.find(session_id)
            place = None if row is None else row.place
        return place

    def forget_place(self, session_id: str) -> None:
        """Read it anew next time: the session may have been made anew."""
        self._places.pop(session_id, None)

    def forget(self, session_id: str) -> None:
        """There is no such session, or not yet."""
        self.forget_place(session_id)
        self._cache.drop(session_id)
