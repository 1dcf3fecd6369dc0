"""ExactSum: numbers added up without rounding, so that their order and grouping cannot show."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.reducers.base import Number

MAX_EXPONENT = 6144  # of Decimals, as in IEEE 754's decimal128: beyond it an exact sum takes no end of memory
FLOAT, DECIMAL = 1, 2


@dataclass(slots=True)
class ExactSum:
    """A sum as the standard library's ``statistics`` keeps it: numerators by their denominators.

    Those of floats are powers of two and those of Decimals products of twos and fives, so that there are few.

    Attributes:
        numerators: by denominator.
        infinite: the sum of infinities, which is one, or NaN; 0.0 without any.
        kinds: which types were among the numbers, beside integers.
    """

    numerators: dict[int, int] = field(default_factory=dict)
    infinite: float = 0.0
    kinds: int = 0

    def add(self, number: Number) -> None:
        """Add one number, which is not NaN.

        Raises:
            ValueError: it is a Decimal with too large an exponent.
        """
        kinds = self.kinds | kind_of(number)
        if not isinstance(number, int) and not math.isfinite(number):
            self.infinite += float(number)
        else:
            numerator, denominator = _ratio(number)
            self.numerators[denominator] = self.numerators.get(denominator, 0) + numerator
        self.kinds = kinds

    def add_square(self, number: Number) -> None:
        """Add the square of one number, exactly; see ``add``."""
        kinds = self.kinds | kind_of(number)
        if not isinstance(number, int) and not math.isfinite(number):
            self.infinite = math.inf
        else:
            numerator, denominator = _ratio(number)
            denominator *= denominator
            self.numerators[denominator] = self.numerators.get(denominator, 0) + numerator * numerator
        self.kinds = kinds

    def merge(self, other: ExactSum) -> None:
        """Add what another has."""
        self.kinds = self.kinds | other.kinds
        self.infinite += other.infinite
        for denominator, numerator in other.numerators.items():
            self.numerators[denominator] = self.numerators.get(denominator, 0) + numerator

    def fraction(self) -> Fraction:
        """The sum of all that is finite."""
        return sum((Fraction(top, bottom) for bottom, top in self.numerators.items()), Fraction())

    def rounded(self, value: Fraction) -> float | Decimal:
        """What was computed of exact sums, rounded once: as a float, or of Decimals in the context's precision.

        Raises:
            InvalidInput: there are floats and Decimals, and neither type holds the other's values.
        """
        if self.kinds == FLOAT | DECIMAL:
            raise InvalidInput("floats and Decimals are among the results: return one kind of them")
        if self.kinds & DECIMAL:
            return Decimal(self.infinite) if self.infinite else Decimal(value.numerator) / Decimal(value.denominator)
        return self.infinite or as_float(value)

    def total(self) -> Number:
        """The sum: an integer of integers, exact of Decimals, and of floats rounded once; raises as ``rounded``."""
        if self.infinite or self.kinds == FLOAT | DECIMAL:
            return self.rounded(Fraction())
        value = self.fraction()
        if not self.kinds:
            return value.numerator
        return _as_decimal(value) if self.kinds & DECIMAL else as_float(value)


def kind_of(number: Number) -> int:
    """As in ``ExactSum.kinds``."""
    return FLOAT if isinstance(number, float) else DECIMAL if isinstance(number, Decimal) else 0


def as_float(value: Fraction) -> float:
    """The nearest float; an infinity beyond the largest, as IEEE 754 has it."""
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _ratio(number: Number) -> tuple[int, int]:
    if isinstance(number, Decimal) and abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError(f"a Decimal with an exponent beyond {MAX_EXPONENT} cannot be added exactly")
    return number.as_integer_ratio()


def _as_decimal(value: Fraction) -> Decimal:
    """A fraction whose denominator has twos and fives alone, as the Decimal that it is."""
    places, bottom = 0, value.denominator
    for prime in (2, 5):
        power = 0
        while bottom % prime == 0:
            bottom, power = bottom // prime, power + 1
        places = max(places, power)
    digits = value.numerator * 10**places // value.denominator
    return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -places))
