"""Several: more than one reduction of the same values, in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.reducers.base import Reducer


class Several(Reducer[dict[str, Any], dict[str, Any]]):
    """What several reducers make of the same values, by the names that they are given.

    A value that one of them refuses counts for none.
    """

    def __init__(self, reducers: Mapping[str, Reducer[Any, Any]] | None = None, **named: Reducer[Any, Any]) -> None:
        self._reducers = {**(reducers or {}), **named}
        for name, reducer in self._reducers.items():
            if not isinstance(reducer, Reducer):
                raise InvalidInput(f"{name}={reducer!r} is no Reducer")

    def zero(self) -> dict[str, Any]:
        """See ``Reducer``."""
        return {name: reducer.zero() for name, reducer in self._reducers.items()}

    def add(self, state: dict[str, Any], value: Any) -> dict[str, Any]:
        """See ``Reducer``."""
        # Into states of its own first: none of them may have it if one refuses it.
        return self.merge(state, {name: one.add(one.zero(), value) for name, one in self._reducers.items()})

    def merge(self, state: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        """See ``Reducer``."""
        for name, reducer in self._reducers.items():
            state[name] = reducer.merge(state[name], other[name])
        return state

    def finish(self, state: dict[str, Any]) -> dict[str, Any]:
        """See ``Reducer``."""
        return {name: reducer.finish(state[name]) for name, reducer in self._reducers.items()}
