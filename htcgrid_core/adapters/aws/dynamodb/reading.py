"""Progress, sessions, bundles and pages read from DynamoDB."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.items import GROUP_ROOTS, Place, root_of, session_key
from htcgrid_core.adapters.aws.dynamodb.page_order import Directory
from htcgrid_core.adapters.aws.dynamodb.schema import (
    BY_TIME_INDEX,
    BY_TIME_KEY,
    ENDED_INDEX,
    ENDED_KEY,
    EXPIRES_AT,
    LIVE_INDEX,
    LIVE_KEY,
    SUBMITTED_AT,
)
from htcgrid_core.adapters.aws.dynamodb.session_rows import Row, Rows
from htcgrid_core.domain import limits
from htcgrid_core.domain.bundle import Block, root_id
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.session_store import AuditEntry, OpenBundle, OutcomePage

PIECE = 100
PLACED_PAGES = 10_000  # of a session with more, pages that are read by root come without their cursors
_LEASES = ("sk", "t", "d", "u", "nb", "par", "pt")


class Reading(Rows):
    """The part of the store that only reads."""

    _directory: Directory

    # Sessions

    def session(self, session_id: str, now: float) -> SessionRecord:
        """One session's row."""
        found = self.progress([session_id], now)
        if not found:
            raise SessionNotFound(session_id)
        return found[0]

    def progress(self, session_ids: Sequence[str], now: float) -> list[SessionRecord]:
        """Up to 100 sessions' rows in one call, in the order asked for; unknown ones are left out."""
        if len(session_ids) > limits.PROGRESS_BATCH:
            raise ValueError(f"at most {limits.PROGRESS_BATCH} sessions a call, not {len(session_ids)}")
        return [row.record for row in self._find_many(session_ids) if not _is_expired(row, now)]

    def sessions(
        self, now: float, *, states: Sequence[SessionState] = (), limit: int = 100, before: float | None = None
    ) -> list[SessionRecord]:
        """Sessions, newest first; ``before`` is the submitted_at to go on from."""
        keys = self._table.index(
            BY_TIME_INDEX,
            (BY_TIME_KEY, "S"),
            below=None if before is None else (SUBMITTED_AT, before),
            backwards=True,
            piece=PIECE,
        )
        found: list[SessionRecord] = []
        while len(found) < limit and (piece := list(islice(keys, PIECE))):
            found += [record for record in self._records(piece, now) if not states or record.state in states]
        return found[:limit]

    def live_sessions(self) -> list[SessionRecord]:
        """Sessions that have not ended: all that the reconciler looks at."""
        keys = self._table.index(LIVE_INDEX, (LIVE_KEY, "L"))
        found: list[SessionRecord] = []
        while piece := list(islice(keys, PIECE)):
            found += [record for record in self._records(piece, float("-inf")) if not record.ended]
        return found

    def expire(self, now: float, limit: int) -> list[str]:
        """Delete ended sessions whose retention has passed; return their ids (their blobs are the caller's).

        Only their rows: nothing leads to their other items any more, which DynamoDB deletes, for nothing, in time.
        """
        gone: list[str] = []
        for key in self._table.index(ENDED_INDEX, (ENDED_KEY, "E"), below=(EXPIRES_AT, now), piece=PIECE):
            row = self._find(_session_id(key))  # the index lags, and so may say what was deleted already
            if row is not None and _is_expired(row, now):
                self._table.delete(session_key(row.session_id))
                gone.append(row.session_id)
            if len(gone) >= limit:
                break
        return gone

    def history(self, session_id: str) -> list[AuditEntry]:
        """The session's transitions, oldest first."""
        row = self._find(session_id)
        return [] if row is None else [items.audit_of(session_id, text) for text in row.item["hist"]]

    def _records(self, keys: Sequence[Item], now: float) -> list[SessionRecord]:
        """The rows that an index names; it may lag behind them."""
        rows = self._find_many([_session_id(key) for key in keys])
        return [row.record for row in rows if not _is_expired(row, now)]

    # Bundles

    def has_live_lease(self, session_id: str, now: float) -> bool:
        """Whether any agent may still be running tasks of this session."""
        row = self._find(session_id)
        if row is None or row.ended:
            return False
        found = self._bundles(row.place, range(row.item["w"]), _LEASES)
        return any("t" in item and "d" not in item and item["u"] > now for item in found)

    def runnable(self, session_id: str, now: float, limit: int) -> list[Hint]:
        """Bundles that are ready or whose lease has lapsed, and since when."""
        row = self._find(session_id)
        if row is None or row.ended:
            return []
        hints = (
            Hint(session_id, bundle_id, float(item["u"] if "t" in item else item.get("nb", 0.0)))
            for bundle_id, item in self._open(row, "", _LEASES)
        )
        return list(islice((hint for hint in hints if hint.not_before <= now), limit))

    def open_bundles(self, session_id: str, after: str, limit: int) -> list[OpenBundle]:
        """Bundles that are not done, by id, after id ``after``."""
        row = self._find(session_id)
        if row is None or row.ended:
            return []
        names = (*_LEASES, "o", "e", "c", "ix", "rk")
        found = list(islice(self._open(row, after, names), limit))
        place = row.place
        keys = [place.block_key(root_of(bundle_id)) for bundle_id, _ in found]
        blocks = self._table.get_many(keys, ("fi", "n", "rk"))
        return [
            OpenBundle(items.bundle_of(place, bundle_id, item, blocks[key]), items.lease_of(item))
            for (bundle_id, item), key in zip(found, keys, strict=True)
        ]

    def blocks(self, session_id: str, first_root: int, limit: int, *, events: bool = True) -> list[Block]:
        """Blocks of roots from ``first_root`` on, in order; without ``events``, their payload may be empty."""
        row = self._find(session_id)
        if row is None:
            return []
        roots = range(first_root, min(row.item["w"], first_root + limit))
        names = ("sk", "fi", "n", "sz", "k", "ka", *(("p",) if events else ()))
        found = self._range(row.place, roots, items.block_sort(roots.start), items.block_sort(roots.stop - 1), names)
        return [items.block_of(item, events=events) for item in found] if roots else []

    def _open(self, row: Row, after: str, names: Sequence[str]) -> Iterator[tuple[str, Item]]:
        """Bundles that are not done, by id; a root that was never claimed has no item and is open."""
        roots = range(max(0, root_of(after)), row.item["w"])
        items_of = iter(self._bundles(row.place, roots, names))
        item = next(items_of, None)
        for root in roots:
            mine: list[Item] = []
            while item is not None and root_of(item["sk"][2:]) == root:
                mine.append(item)
                item = next(items_of, None)
            known = {found["sk"][2:]: found for found in self._born(row.place, mine)}
            for bundle_id in sorted({root_id(root), *known}):
                found = known.get(bundle_id, {})
                if bundle_id > after and "d" not in found:
                    yield bundle_id, found

    def _bundles(self, place: Place, roots: range, names: Sequence[str]) -> Iterator[Item]:
        """Items of the bundles of these roots and their descendants, by id."""
        low, high = f"B#{root_id(roots.start)}", f"B#{root_id(max(0, roots.stop - 1))}/"  # "/" comes after "."
        return iter(()) if not roots else self._range(place, roots, low, high, names)

    def _range(self, place: Place, roots: range, low: str, high: str, names: Sequence[str]) -> Iterator[Item]:
        """Items by their sort keys, of the lanes that hold these roots."""
        starts = {root // GROUP_ROOTS for root in islice(roots, 0, GROUP_ROOTS * place.lanes + 1, GROUP_ROOTS)}
        starts |= {(roots.stop - 1) // GROUP_ROOTS} if roots else set()
        lanes = sorted({start % place.lanes for start in starts})
        streams = [self._table.query(place.partition(lane), low, high, names=names, piece=PIECE) for lane in lanes]
        return heapq.merge(*streams, key=lambda item: str(item["sk"]))

    # Pages

    def outcome_pages(self, session_id: str, after: int, limit: int, *, failed_only: bool = False) -> list[OutcomePage]:
        """Pages in commit order, after cursor ``after`` (0 to begin)."""
        row = self._find(session_id)
        if row is None:
            return []
        place = row.place
        if row.pages == after:
            return []
        entries = self._directory.after(place, after, row.record.updated_at)
        wanted = list(islice((entry for entry in entries if entry.failed or not failed_only), limit))
        found = self._table.get_many([place.bundle_key(entry.bundle_id) for entry in wanted])
        keys = ((entry, place.bundle_key(entry.bundle_id)) for entry in wanted)
        return [items.page_of(found[key], entry.cursor) for entry, key in keys if key in found]

    def root_pages(self, session_id: str, first_root: int, last_root: int) -> list[OutcomePage]:
        """All pages of roots ``first_root <= root < last_root``."""
        row = self._find(session_id)
        if row is None:
            return []
        roots = range(first_root, min(last_root, row.item["w"]))
        names = ("sk", "o", "e", "sz", "k", "p", "ok", "bad")
        found = [item for item in self._bundles(row.place, roots, names) if "sz" in item]
        cursors = self._cursors(row) if found else {}
        pages = [items.page_of(item, cursors.get(item["sk"][2:], 0)) for item in found]
        return sorted(pages, key=lambda page: (page.root, page.cursor))

    def _cursors(self, row: Row) -> dict[str, int]:
        """Where pages are in commit order, unless there are so many that looking it up would cost more than reading."""
        if self._directory.extend(row.place, row.record.updated_at) > PLACED_PAGES:
            return {}
        return {entry.bundle_id: entry.cursor for entry in self._directory.written(row.place)}


def _session_id(key: Item) -> str:
    return str(key["pk"]).removeprefix("S#")


def _is_expired(row: Row, now: float) -> bool:
    return "exp" in row.item and row.item["exp"] <= now
