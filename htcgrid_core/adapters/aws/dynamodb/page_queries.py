"""Pages of outcomes, in commit order or by root."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.page_order import PageOrder
from htcgrid_core.adapters.aws.dynamodb.root_ranges import RootRanges
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.domain.bundle import root_of
from htcgrid_core.ports.session_store import Committed, OutcomePage

PLACED_PAGES = 10_000  # of a session with more, pages that are read by root come without their cursors


class PageQueries:
    """Reads what was committed."""

    def __init__(self, table: Table, rows: SessionRows, roots: RootRanges, page_order: PageOrder) -> None:
        self._table = table
        self._rows = rows
        self._roots = roots
        self._page_order = page_order

    def outcome_pages(self, session_id: str, after: int, limit: int, *, failed_only: bool = False) -> list[OutcomePage]:
        """Pages in commit order, after cursor ``after`` (0 to begin)."""
        row = self._rows.find_ended(session_id)
        if row is None:
            return []
        place = row.place
        if row.pages == after:
            return []
        entries = self._page_order.after(row, after)
        wanted = list(islice((entry for entry in entries if entry.failed or not failed_only), limit))
        keys = [place.bundle_key(entry.bundle_id) for entry in wanted]
        found = row.roots if row.has_all_pages else self._table.get_many(keys)
        pairs = zip(wanted, keys, strict=True)
        return [items.page_of(found[key], entry.cursor) for entry, key in pairs if key in found]

    def committed(self, session_id: str, after: int, limit: int) -> list[Committed]:
        """The same without the pages: the page order is all that is read."""
        row = self._rows.find_place(session_id)
        if row is None:
            return []
        entries = self._page_order.after(row, after)
        return [Committed(entry.cursor, entry.bundle_id, entry.failed) for entry in islice(entries, limit)]

    def bundle_pages(self, session_id: str, bundle_ids: Sequence[str]) -> list[OutcomePage]:
        """The pages of some bundles."""
        row = self._rows.find_place(session_id)
        if row is None:
            return []
        found = self._table.get_many([row.place.bundle_key(bundle_id) for bundle_id in bundle_ids])
        return [items.page_of(item, 0) for item in found.values() if "sz" in item]

    def root_pages(self, session_id: str, first_root: int, last_root: int) -> list[OutcomePage]:
        """All pages of roots ``first_root <= root < last_root``."""
        row = self._rows.find_ended(session_id)
        if row is None:
            return []
        roots = range(first_root, min(last_root, row.item["w"]))
        found = [item for item in self._bundles(row, roots) if "sz" in item]
        cursors = self._cursors(row) if found else {}
        pages = [items.page_of(item, cursors.get(item["sk"][2:], 0)) for item in found]
        return sorted(pages, key=lambda page: (page.root, page.cursor))

    def _bundles(self, row: SessionRow, roots: range) -> Iterable[Item]:
        if row.has_all_pages:
            return [item for item in row.roots.values() if root_of(item["sk"][2:]) in roots]
        return self._roots.bundles(row.place, roots, ("sk", "o", "e", "sz", "k", "p", "ok", "bad"))

    def _cursors(self, row: SessionRow) -> dict[str, int]:
        """Where pages are in commit order, unless there are so many that looking it up would cost more than reading."""
        place, now = row.place, row.record.updated_at
        if ((row.pages or 0) if place.lanes == 1 else self._page_order.extend(place, now)) > PLACED_PAGES:
            return {}
        return {entry.bundle_id: entry.cursor for entry in self._page_order.after(row, 0)}
