"""Histogram: how many values lie between given edges."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.reducers.base import NanPolicy, Number, NumberReducer, Of


@dataclass(frozen=True, slots=True)
class HistogramCounts:
    """How many values each bin has.

    Attributes:
        edges: of the bins. A bin has its lower edge and not its upper one, but for the last, which has both.
        counts: one for each bin.
        below, above: how many values are in none.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int
    above: int


class Histogram(NumberReducer[list[int], HistogramCounts]):
    """Counts between edges, as in ``numpy.histogram``, and of what lies outside of them.

    Args:
        edges: two or more, ascending.
    """

    def __init__(self, edges: Sequence[float], *, of: Of = None, nan: NanPolicy = "raise") -> None:
        super().__init__(of=of, nan=nan)
        self._edges = tuple(float(edge) for edge in edges)
        if len(self._edges) < 2 or not all(low < high for low, high in pairwise(self._edges)):
            raise InvalidInput(f"edges={list(edges)[:20]!r}: two or more, each above the one before")

    def zero(self) -> list[int]:
        """See ``Reducer``: below the edges, in each bin, above the edges."""
        return [0] * (len(self._edges) + 1)

    def add_number(self, state: list[int], number: Number) -> list[int]:
        """See ``NumberReducer``."""
        # Comparisons of numbers are exact in Python, whatever their types; infinities of Decimals are none with floats.
        value = float(number) if isinstance(number, Decimal) and math.isinf(number) else number
        at = bisect_right(self._edges, value)
        state[at - 1 if value == self._edges[-1] else at] += 1
        return state

    def merge(self, state: list[int], other: list[int]) -> list[int]:
        """See ``Reducer``."""
        return [mine + theirs for mine, theirs in zip(state, other, strict=True)]

    def finish(self, state: list[int]) -> HistogramCounts:
        """See ``Reducer``."""
        return HistogramCounts(self._edges, tuple(state[1:-1]), state[0], state[-1])
