"""Count, Sum, Mean and Variance, from exact sums: rounded once, at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.reducers.base import NanPolicy, Number, NumberReducer, Of, Reducer
from htcgrid_core.reducers.exact import ExactSum


class Count(Reducer[int, int]):
    """How many values there are, of whatever kind."""

    def zero(self) -> int:
        """See ``Reducer``."""
        return 0

    def add(self, state: int, value: Any) -> int:
        """See ``Reducer``."""
        return state + 1

    def merge(self, state: int, other: int) -> int:
        """See ``Reducer``."""
        return state + other

    def finish(self, state: int) -> int:
        """See ``Reducer``."""
        return state


@dataclass(slots=True)
class Moments:
    """Count, sum, and sum of squares."""

    count: int = 0
    sum: ExactSum = field(default_factory=ExactSum)
    squares: ExactSum = field(default_factory=ExactSum)


class Sum(NumberReducer[ExactSum, Number]):
    """The sum: exact of integers and Decimals, correctly rounded of floats (as ``math.fsum``); 0 of nothing."""

    def zero(self) -> ExactSum:
        """See ``Reducer``."""
        return ExactSum()

    def add_number(self, state: ExactSum, number: Number) -> ExactSum:
        """See ``NumberReducer``."""
        state.add(number)
        return state

    def merge(self, state: ExactSum, other: ExactSum) -> ExactSum:
        """See ``Reducer``."""
        state.merge(other)
        return state

    def finish(self, state: ExactSum) -> Number:
        """See ``Reducer``."""
        return state.total()


class _OfMoments(NumberReducer[Moments, float | Decimal | None]):
    def zero(self) -> Moments:
        """See ``Reducer``."""
        return Moments()

    def merge(self, state: Moments, other: Moments) -> Moments:
        """See ``Reducer``."""
        state.sum.merge(other.sum)
        state.squares.merge(other.squares)
        state.count += other.count
        return state


class Mean(_OfMoments):
    """The arithmetic mean, correctly rounded: a float, or a Decimal of Decimals; None of nothing."""

    def add_number(self, state: Moments, number: Number) -> Moments:
        """See ``NumberReducer``."""
        state.sum.add(number)
        state.count += 1
        return state

    def finish(self, state: Moments) -> float | Decimal | None:
        """See ``Reducer``."""
        return state.sum.rounded(state.sum.fraction() / state.count) if state.count else None


class Variance(_OfMoments):
    """The variance, correctly rounded: a float, or a Decimal of Decimals; None of too few values, NaN with infinities.

    Args:
        ddof: what is taken from the count to divide by: 1 for a sample's (as in pandas), 0 for a population's.
    """

    def __init__(self, *, ddof: int = 1, of: Of = None, nan: NanPolicy = "raise") -> None:
        super().__init__(of=of, nan=nan)
        if ddof < 0:
            raise InvalidInput(f"ddof={ddof} is below 0")
        self._ddof = ddof

    def add_number(self, state: Moments, number: Number) -> Moments:
        """See ``NumberReducer``."""
        state.sum.add(number)
        state.squares.add_square(number)
        state.count += 1
        return state

    def finish(self, state: Moments) -> float | Decimal | None:
        """See ``Reducer``."""
        left = state.count - self._ddof
        if left <= 0:
            return None
        if state.squares.infinite:
            return type(state.sum.rounded(state.sum.fraction()))("nan")
        return state.sum.rounded((state.squares.fraction() - state.sum.fraction() ** 2 / state.count) / left)
