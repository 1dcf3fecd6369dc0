"""Reducer: what makes one value of many, in parts that are put together."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar

from htcgrid_core.domain.errors import InvalidInput

State = TypeVar("State")
Result = TypeVar("Result")
Number = int | float | Decimal
NanPolicy = Literal["raise", "omit"]
Of = str | int | Callable[[Any], Any] | None


class Reducer(ABC, Generic[State, Result]):
    """How values become one: an aggregation whose partial states merge.

    For any values ``finish`` must give the same however they were spread over states, as long as states are merged in
    the order of their values. ``add`` and ``merge`` may change their first argument and return it. A state is pickled.
    """

    @abstractmethod
    def zero(self) -> State:
        """The state of no values; a new one at each call."""

    @abstractmethod
    def add(self, state: State, value: Any) -> State:
        """The state with one value more.

        Raises:
            TypeError, ValueError: the value is none for this; the state is as it was. The value's event has failed.
        """

    @abstractmethod
    def merge(self, state: State, other: State) -> State:
        """The state of the values of both; those of ``other`` come after."""

    @abstractmethod
    def finish(self, state: State) -> Result:
        """What comes of it."""


class NumberReducer(Reducer[State, Result]):
    """A reducer of numbers, or of what stands in each value.

    Args:
        of: the key, or index, of the number in each value, or a function that takes it out; None if values are numbers.
        nan: "raise" makes NaN a failure of its event, "omit" leaves it out.
    """

    def __init__(self, *, of: Of = None, nan: NanPolicy = "raise") -> None:
        if nan not in ("raise", "omit"):
            raise InvalidInput(f"nan={nan!r}: raise or omit")
        self._of, self._omits = of, nan == "omit"

    def add(self, state: State, value: Any) -> State:
        """See ``Reducer``."""
        number = number_of(taken(value, self._of))
        if not is_nan(number):
            return self.add_number(state, number)
        if self._omits:
            return state
        raise ValueError("the result is NaN; nan='omit' would leave it out")

    @abstractmethod
    def add_number(self, state: State, number: Number) -> State:
        """The state with one number more, which is not NaN."""


def taken(value: Any, of: Of) -> Any:
    """What of a value is reduced."""
    if of is None:
        return value
    if callable(of):
        return of(value)
    try:
        return value[of]
    except (KeyError, IndexError, TypeError) as error:
        raise TypeError(f"the result has no {of!r}") from error


def number_of(value: Any) -> Number:
    """A value as one of Python's numbers; scalars of NumPy become such, and bools integers.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Decimal):
        return value
    if getattr(value, "ndim", None) == 0 and isinstance(scalar := value.item(), int | float):
        return scalar
    raise TypeError(f"the result is no number but a {type(value).__name__}")


def is_nan(value: Any) -> bool:
    """Whether a value is a NaN of any kind."""
    return value.is_nan() if isinstance(value, Decimal) else isinstance(value, float) and math.isnan(value)
