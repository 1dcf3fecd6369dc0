"""The page order: in which order the pages of a session are read.

A commit appends its bundle's id to the log of its lane, in the item that it writes anyway. A single lane's log is the
order, and is read as it is. From several logs, whoever reads (or a committer whose log has become long) makes the page
order: items of some ids each, under the number of their first. An item is never changed, and none is written but as
the next one, so a page that was given a number keeps it, and every later page gets a larger one, whichever lane it is
in and however late it was committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.items import FAILED
from htcgrid_core.adapters.aws.dynamodb.keys import Place
from htcgrid_core.adapters.aws.dynamodb.schema import TTL
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain.errors import GridUnavailable

TRIM_FROM = 8  # ids in a lane's log; one committer in sixteen trims, so that its item stays within a kilobyte or so
TRIM_MOST = 200  # at once: an expression has 4 KB at most
ITEM_IDS = 4000  # in one item of the page order: 110 KB at most
TRIES = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A page and its place in the order."""

    cursor: int
    bundle_id: str
    failed: bool


class PageOrder:
    """The page orders of all sessions of a table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def after(self, row: SessionRow, cursor: int) -> Iterator[Entry]:
        """Entries after a cursor; what is only in the logs of several lanes is given its numbers first."""
        place = row.place
        if place.lanes == 1:
            yield from self._of_one_lane(row, cursor)
        elif self.extend(place, row.record.updated_at) > cursor:
            yield from self.written(place, cursor + 1)

    def _of_one_lane(self, row: SessionRow, cursor: int) -> Iterator[Entry]:
        """What was cut off the log, then the log."""
        cut = row.item.get("cut", 0)
        if cursor < cut:
            yield from (entry for entry in self.written(row.place, cursor + 1) if entry.cursor <= cut)
        log = _entries(cut + 1, row.item.get("log", ()))
        yield from (entry for entry in log if entry.cursor > cursor)

    def extend(self, place: Place, now: float) -> int:
        """Give numbers to what is in the logs; the last number there is."""
        for _ in range(TRIES):
            # The logs first: what the page order, read later, does not know of them cannot have been cut off.
            logs = self._table.get_many(place.counter_keys(), ("log", "cut", "gen"))
            lanes = [logs.get(key, {}) for key in place.counter_keys()]
            if place.lanes == 1 and lanes[0].get("gen") != place.generation:
                return 0  # it was made anew
            last = next(self._table.query(place.page_order, "0", "9", piece=1, backwards=True), None)
            number, numbered = _end_of(last, place.lanes)
            ids, numbered = _new_ids(lanes, numbered)
            if not ids:
                return number - 1
            item: Item = {"ids": ids, "seen": numbered, TTL: place.ttl(now)}
            try:
                self._table.write(Write((place.page_order, f"{number:012d}"), "attribute_not_exists(#pk)", item=item))
            except ConditionFailed:
                continue  # another was quicker
            if len(ids) < ITEM_IDS:
                return number + len(ids) - 1
        raise GridUnavailable(f"session {place.session_id}: others keep extending its page order; try again")

    def trim(self, place: Place, lanes: Sequence[Item], now: float) -> None:
        """Move logs that have become long into the page order; no harm is done if that fails halfway."""
        long = [(lane, counters) for lane, counters in enumerate(lanes) if len(counters.get("log", ())) >= TRIM_FROM]
        if long:
            self.extend(place, now)
        for lane, counters in long:
            self._cut(place, lane, counters)

    def _cut(self, place: Place, lane: int, counters: Item) -> None:
        """Cut off what the page order has."""
        cut, log = counters.get("cut", 0), counters["log"][:TRIM_MOST]
        write = Write(
            place.counter_key(lane),
            ("#cut = :cut" if cut else "attribute_not_exists(#cut)") + (" AND #gen = :gen" if place.lanes == 1 else ""),
            # From the last to the first: ministack removes one after another, and AWS all at once.
            f"REMOVE {', '.join(f'#log[{at}]' for at in reversed(range(len(log))))} SET #cut = :new",
            arguments={"cut": cut, "new": cut + len(log)} | ({"gen": place.generation} if place.lanes == 1 else {}),
        )
        try:
            self._table.write(write)
        except ConditionFailed:
            return  # another has done it

    def written(self, place: Place, number: int = 1) -> Iterator[Entry]:
        """Entries from ``number`` on, of those that have one."""
        start = number
        if number > 1:  # it may be in the middle of an item
            first = next(self._table.query(place.page_order, "0", f"{number:012d}", piece=1, backwards=True), None)
            if first is not None:
                yield from (entry for entry in _entries_of(first) if entry.cursor >= number)
                start = _end_of(first, place.lanes)[0]
        for item in self._table.query(place.page_order, f"{start:012d}", "9", piece=20):
            yield from _entries_of(item)


def _end_of(item: Item | None, lanes: int) -> tuple[int, list[int]]:
    """The number after an item's last, and how much of each lane's log has been given numbers by then."""
    if item is None:
        return 1, [0] * lanes
    return int(item["sk"]) + len(item["ids"]), item["seen"]


def _new_ids(lanes: Sequence[Item], numbered: Sequence[int]) -> tuple[list[str], list[int]]:
    """What the logs hold beyond what is numbered, and how much of each is numbered then."""
    ids: list[str] = []
    after = list(numbered)
    for lane, counters in enumerate(lanes):
        begin = max(0, numbered[lane] - counters.get("cut", 0))
        fresh = counters.get("log", [])[begin : begin + ITEM_IDS - len(ids)]
        ids += fresh
        after[lane] += len(fresh)
    return ids, after


def _entries_of(item: Item) -> Iterator[Entry]:
    return _entries(int(item["sk"]), item["ids"])


def _entries(first: int, ids: Sequence[str]) -> Iterator[Entry]:
    for at, text in enumerate(ids):
        yield Entry(first + at, text.removesuffix(FAILED), text.endswith(FAILED))
