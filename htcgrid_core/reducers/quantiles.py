"""Quantiles from a sketch that merges without loss: DDSketch.

C. Masson, J. E. Rim and H. K. Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error
Guarantees", PVLDB 12(12), 2019.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.reducers.base import NanPolicy, Number, NumberReducer, Of

SMALLEST = sys.float_info.min  # below it, floats have too few digits for a relative error


@dataclass(slots=True)
class Sketch:
    """How many values lie in each bucket; a bucket's bounds are neighbouring powers of one base.

    No bucket is ever joined with another, so that a merge is a sum of counts and loses nothing.

    Attributes:
        positive, negative: counts by the exponent of the bucket's upper bound, of what is above and below zero.
        zeros: how many are zero.
        infinite: how many are minus and plus infinity.
        low, high: the smallest and the largest finite value.
    """

    positive: dict[int, int] = field(default_factory=dict)
    negative: dict[int, int] = field(default_factory=dict)
    zeros: int = 0
    infinite: tuple[int, int] = (0, 0)
    low: float = math.inf
    high: float = -math.inf


class Quantiles(NumberReducer[Sketch, "dict[float, float | None] | float | None"]):
    """Quantiles, each within a relative error of the value that has its rank.

    The quantile q of n values is the one with rank floor(q * (n - 1)) from 0, as NumPy's ``method="lower"`` has it, and
    what is returned differs from it by at most ``relative_error`` times its size. Values of a size below 2.3e-308
    count as zero. The result is the same to the last digit however the values are grouped and ordered.

    Args:
        quantiles: between 0 and 1; of several the result is a dict by quantile, of one, given as a number, its value.
            None, or a dict of None, of no values.
        relative_error: above 0 and below 1. A state has about 1.15 / relative_error buckets for each decade that the
            values span, and never more than there are values.
    """

    def __init__(
        self,
        quantiles: Sequence[float] | float,
        *,
        relative_error: float = 0.001,
        of: Of = None,
        nan: NanPolicy = "raise",
    ) -> None:
        super().__init__(of=of, nan=nan)
        self._one = isinstance(quantiles, int | float)
        self._quantiles = [float(q) for q in ([quantiles] if isinstance(quantiles, int | float) else quantiles)]
        if not self._quantiles or not all(0 <= q <= 1 for q in self._quantiles):
            raise InvalidInput(f"quantiles={quantiles!r}: numbers from 0 to 1")
        if not 1e-6 <= relative_error < 1:
            raise InvalidInput(f"relative_error={relative_error!r}: from 0.000001 to below 1")
        self._log_base = math.log1p(relative_error) - math.log1p(-relative_error)
        self._middle = math.log1p(-relative_error)  # of a bucket, from its upper bound: 2 / (1 + base)

    def zero(self) -> Sketch:
        """See ``Reducer``."""
        return Sketch()

    def add_number(self, state: Sketch, number: Number) -> Sketch:
        """See ``NumberReducer``."""
        value = float(number)  # OverflowError, of an integer that no float holds, is a failure too
        if math.isinf(value):
            below, above = state.infinite
            state.infinite = (below + 1, above) if value < 0 else (below, above + 1)
            return state
        if value < state.low:
            state.low = value
        if value > state.high:
            state.high = value
        if -SMALLEST < value < SMALLEST:
            state.zeros += 1
            return state
        buckets = state.positive if value > 0 else state.negative
        exponent = math.ceil(math.log(abs(value)) / self._log_base)
        buckets[exponent] = buckets.get(exponent, 0) + 1
        return state

    def merge(self, state: Sketch, other: Sketch) -> Sketch:
        """See ``Reducer``."""
        for mine, theirs in ((state.positive, other.positive), (state.negative, other.negative)):
            for exponent, count in theirs.items():
                mine[exponent] = mine.get(exponent, 0) + count
        state.zeros += other.zeros
        state.infinite = (state.infinite[0] + other.infinite[0], state.infinite[1] + other.infinite[1])
        state.low, state.high = min(state.low, other.low), max(state.high, other.high)
        return state

    def finish(self, state: Sketch) -> dict[float, float | None] | float | None:
        """See ``Reducer``."""
        below, above = state.infinite
        count = sum(number for _, number in self._ascending(state))
        if not count:
            return None if self._one else dict.fromkeys(self._quantiles)
        ranks = {q: math.floor(q * (count - 1)) for q in self._quantiles}
        found: dict[float, float] = {}
        left = sorted(ranks, key=ranks.__getitem__, reverse=True)
        seen = 0
        for value, number in self._ascending(state):
            seen += number
            while left and ranks[left[-1]] < seen:
                q = left.pop()
                # The outermost values are kept as they are.
                is_low, is_high = ranks[q] == below, ranks[q] == count - above - 1
                found[q] = state.low if is_low else state.high if is_high else value
        return found[self._quantiles[0]] if self._one else {q: found[q] for q in self._quantiles}

    def _ascending(self, state: Sketch) -> Iterator[tuple[float, int]]:
        """Each bucket's value, and its count."""

        def within(value: float) -> float:
            return min(max(value, state.low), state.high)

        yield -math.inf, state.infinite[0]
        for exponent in sorted(state.negative, reverse=True):
            yield within(-self._value(exponent)), state.negative[exponent]
        yield 0.0, state.zeros
        for exponent in sorted(state.positive):
            yield within(self._value(exponent)), state.positive[exponent]
        yield math.inf, state.infinite[1]

    def _value(self, exponent: int) -> float:
        try:
            return math.exp(exponent * self._log_base + self._middle)
        except OverflowError:  # the middle of the bucket in which the largest floats lie
            return sys.float_info.max
