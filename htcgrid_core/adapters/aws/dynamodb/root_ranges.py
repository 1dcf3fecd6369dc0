"""Items of neighbouring roots, in order: merged from the lanes that hold them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.keys import GROUP_ROOTS, Place, block_sort
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.domain.bundle import root_id

PIECE = 100


class RootRanges:
    """Reads blocks and bundles by their roots."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def blocks(self, place: Place, roots: range, names: Sequence[str]) -> Iterator[Item]:
        """Items of the blocks of these roots."""
        return self._range(place, roots, block_sort(roots.start), block_sort(roots.stop - 1), names)

    def bundles(self, place: Place, roots: range, names: Sequence[str]) -> Iterator[Item]:
        """Items of the bundles of these roots and their descendants, by id."""
        low, high = f"B#{root_id(roots.start)}", f"B#{root_id(max(0, roots.stop - 1))}/"  # "/" comes after "."
        return self._range(place, roots, low, high, names)

    def _range(self, place: Place, roots: range, low: str, high: str, names: Sequence[str]) -> Iterator[Item]:
        """Items by their sort keys, of the lanes that hold these roots."""
        if not roots:
            return iter(())
        starts = {root // GROUP_ROOTS for root in islice(roots, 0, GROUP_ROOTS * place.lanes + 1, GROUP_ROOTS)}
        starts.add((roots.stop - 1) // GROUP_ROOTS)
        lanes = sorted({start % place.lanes for start in starts})
        streams = [self._table.query(place.partition(lane), low, high, names=names, piece=PIECE) for lane in lanes]
        return heapq.merge(*streams, key=lambda item: str(item["sk"]))
