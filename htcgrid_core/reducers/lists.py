"""Top and Concat: values themselves, some of them or all."""

from __future__ import annotations

import heapq
from typing import Any

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.reducers.base import NanPolicy, Of, Reducer, is_nan, taken


class Top(Reducer[list[Any], list[Any]]):
    """The n largest values, the largest first; of equal ones, those of earlier events. Fewer, if there are fewer.

    Args:
        n: how many.
        by: the key, or index, of what is compared in each value, or a function that takes it out; None for values
            themselves.
        smallest: the n smallest instead, the smallest first.
        nan: what is done with a value that would be compared by NaN: "raise", or "omit".
    """

    def __init__(self, n: int, *, by: Of = None, smallest: bool = False, nan: NanPolicy = "raise") -> None:
        if n < 1:
            raise InvalidInput(f"n={n}: 1 or more")
        if nan not in ("raise", "omit"):
            raise InvalidInput(f"nan={nan!r}: raise or omit")
        self._n, self._by, self._smallest, self._omits = n, by, smallest, nan == "omit"

    def zero(self) -> list[Any]:
        """See ``Reducer``: pairs of what is compared and the value, in the order of events."""
        return []

    def add(self, state: list[Any], value: Any) -> list[Any]:
        """See ``Reducer``."""
        compared = taken(value, self._by)
        if is_nan(compared):
            if self._omits:
                return state
            raise ValueError("the result is NaN; nan='omit' would leave it out")
        state.append((compared, value))
        return self._cut(state) if len(state) >= 2 * self._n + 64 else state

    def merge(self, state: list[Any], other: list[Any]) -> list[Any]:
        """See ``Reducer``."""
        return self._cut(state + other)

    def finish(self, state: list[Any]) -> list[Any]:
        """See ``Reducer``."""
        return [value for _, value in self._cut(state)]

    def _cut(self, state: list[Any]) -> list[Any]:
        # Both are stable: of equal ones the earlier are taken, and stand first.
        choose = heapq.nsmallest if self._smallest else heapq.nlargest
        try:
            return choose(self._n, state, key=lambda pair: pair[0])
        except TypeError as error:
            raise InvalidInput(f"the results cannot be compared with each other: {error}") from error


class Concat(Reducer[list[Any], list[Any]]):
    """All values, in the order of their events; lists among them are put end to end."""

    def zero(self) -> list[Any]:
        """See ``Reducer``."""
        return []

    def add(self, state: list[Any], value: Any) -> list[Any]:
        """See ``Reducer``."""
        state.extend(value if isinstance(value, list) else [value])
        return state

    def merge(self, state: list[Any], other: list[Any]) -> list[Any]:
        """See ``Reducer``."""
        state.extend(other)
        return state

    def finish(self, state: list[Any]) -> list[Any]:
        """See ``Reducer``."""
        return state
