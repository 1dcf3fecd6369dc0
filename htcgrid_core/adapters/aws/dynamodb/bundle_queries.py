"""Bundles of a session: which are open, who has them, and their events."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.early_children import EarlyChildren
from htcgrid_core.adapters.aws.dynamodb.item_payloads import inflated
from htcgrid_core.adapters.aws.dynamodb.root_ranges import RootRanges
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.domain.bundle import Block, before_root, root_id, root_of
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.session_store import OpenBundle

_LEASES = ("sk", "t", "d", "u", "nb", "pl", "par", "pt")


class BundleQueries:
    """What is known of bundles."""

    def __init__(self, table: Table, rows: SessionRows, roots: RootRanges, early_children: EarlyChildren) -> None:
        self._table = table
        self._rows = rows
        self._roots = roots
        self._early_children = early_children

    def has_live_lease(self, session_id: str, now: float) -> bool:
        """Whether any agent may still be running tasks of this session."""
        row = self._rows.find(session_id)
        if row is None or row.ended:
            return False
        found = self._roots.bundles(row.place, range(row.item["w"]), _LEASES)
        return any("t" in item and "d" not in item and item["u"] > now for item in found)

    def runnable(self, session_id: str, now: float, limit: int) -> list[Hint]:
        """Bundles that are ready or whose lease has lapsed, and since when."""
        row = self._rows.find(session_id)
        if row is None or row.ended:
            return []
        hints = (
            Hint(
                session_id, bundle_id, float(item["u"] if "t" in item else item.get("nb", 0.0)),
                pool=item.get("pl", ""),
            )
            for bundle_id, item in self._open(row, "", _LEASES)
        )  # fmt: skip
        return list(islice((hint for hint in hints if hint.not_before <= now), limit))

    def open_bundles(self, session_id: str, after: str, limit: int) -> list[OpenBundle]:
        """Bundles that are not done, by id, after id ``after``."""
        row = self._rows.find(session_id)
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

    def attempts(self, session_id: str, bundle_ids: Sequence[str]) -> dict[str, bytes]:
        """What tasks of these bundles said when they failed."""
        row = self._rows.find(session_id)
        if row is None:
            return {}
        keys = {row.place.attempts_key(bundle_id): bundle_id for bundle_id in bundle_ids}
        found = self._table.get_many(list(keys))
        said = {}
        for key, item in found.items():
            with contextlib.suppress(zlib.error):  # it is for people, and ends nothing
                said[keys[key]] = inflated(item["p"])
        return said

    def attempts_of_root(self, session_id: str, root: int, limit: int) -> list[bytes]:
        """What tasks of a root and its descendants said when they failed."""
        row = self._rows.find(session_id)
        if row is None:
            return []
        partition, first = row.place.attempts_key(root_id(root))
        last = row.place.attempts_key(before_root(root + 1))[1]
        said = []
        for item in islice(self._table.query(partition, first, last, names=("p",), piece=limit), limit):
            with contextlib.suppress(zlib.error):
                said.append(inflated(item["p"]))
        return said

    def blocks(self, session_id: str, first_root: int, limit: int, *, events: bool = True) -> list[Block]:
        """Blocks of roots from ``first_root`` on, in order; without ``events``, their payload may be empty."""
        row = self._rows.find_place(session_id)
        if row is None:
            return []
        roots = range(first_root, min(row.item["w"], first_root + limit))
        if not events and (known := self._rows.blocks(row.place, roots)) is not None:
            return list(known)
        names = ("sk", "fi", "n", "sz", "k", "ka", *(("p",) if events else ()))
        return [items.block_of(item, events=events) for item in self._roots.blocks(row.place, roots, names)]

    def _open(self, row: SessionRow, after: str, names: Sequence[str]) -> Iterator[tuple[str, Item]]:
        """Bundles that are not done, by id; a root that was never claimed has no item and is open."""
        roots = range(max(0, root_of(after)), row.item["w"])
        items_of = iter(self._roots.bundles(row.place, roots, names))
        item = next(items_of, None)
        for root in roots:
            mine: list[Item] = []
            while item is not None and root_of(item["sk"][2:]) == root:
                mine.append(item)
                item = next(items_of, None)
            known = {found["sk"][2:]: found for found in self._early_children.born(row.place, mine)}
            for bundle_id in sorted({root_id(root), *known}):
                found = known.get(bundle_id, {})
                if bundle_id > after and "d" not in found:
                    yield bundle_id, found
