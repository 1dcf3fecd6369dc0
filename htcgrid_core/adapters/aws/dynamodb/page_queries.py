"""Pages of outcomes, in commit order or by root."""

from __future__ import annotations

from itertools import islice

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.page_order import PageOrder
from htcgrid_core.adapters.aws.dynamodb.root_ranges import RootRanges
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.ports.session_store import OutcomePage

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
        row = self._rows.find(session_id)
        if row is None:
            return []
        place = row.place
        if row.pages == after:
            return []
        entries = self._page_order.after(place, after, row.record.updated_at)
        wanted = list(islice((entry for entry in entries if entry.failed or not failed_only), limit))
        found = self._table.get_many([place.bundle_key(entry.bundle_id) for entry in wanted])
        keys = ((entry, place.bundle_key(entry.bundle_id)) for entry in wanted)
        return [items.page_of(found[key], entry.cursor) for entry, key in keys if key in found]

    def root_pages(self, session_id: str, first_root: int, last_root: int) -> list[OutcomePage]:
        """All pages of roots ``first_root <= root < last_root``."""
        row = self._rows.find(session_id)
        if row is None:
            return []
        roots = range(first_root, min(last_root, row.item["w"]))
        names = ("sk", "o", "e", "sz", "k", "p", "ok", "bad")
        found = [item for item in self._roots.bundles(row.place, roots, names) if "sz" in item]
        cursors = self._cursors(row) if found else {}
        pages = [items.page_of(item, cursors.get(item["sk"][2:], 0)) for item in found]
        return sorted(pages, key=lambda page: (page.root, page.cursor))

    def _cursors(self, row: SessionRow) -> dict[str, int]:
        """Where pages are in commit order, unless there are so many that looking it up would cost more than reading."""
        if self._page_order.extend(row.place, row.record.updated_at) > PLACED_PAGES:
            return {}
        return {entry.bundle_id: entry.cursor for entry in self._page_order.written(row.place)}
