"""Large arrays among the arguments: stored once on the grid, not once for each call."""

from __future__ import annotations

import sys
from typing import Any

from htcgrid_core.client.grid import Grid
from htcgrid_core.codecs.shared import SharedInput


class SharedArrays:
    """The arrays of one call of ``Parallel`` that are larger than ``max_nbytes``; None shares nothing.

    As with joblib's own memory maps, which begin at the same size, a task sees such an array read-only: it is
    shared with the other tasks of its worker.
    """

    def __init__(self, grid: Grid, max_nbytes: int | None) -> None:
        self._grid = grid
        self._max_nbytes = max_nbytes
        # The array beside its reference: while it is kept, its id is nobody else's.
        self._shared: dict[int, tuple[Any, SharedInput]] = {}

    def replaced(self, items: list[tuple[Any, tuple[Any, ...], dict[str, Any]]]) -> list[Any]:
        """The same calls, with references in place of large arrays."""
        if self._max_nbytes is None or "numpy" not in sys.modules:
            return items
        return [
            (function, tuple(map(self._stored, args)), {name: self._stored(value) for name, value in kwargs.items()})
            for function, args, kwargs in items
        ]

    def _stored(self, value: Any) -> Any:
        if not self._is_large(value):
            return value
        if id(value) not in self._shared:
            read_only = value.view()
            read_only.flags.writeable = False
            self._shared[id(value)] = value, self._grid.put(read_only, codec="pickle")
        return self._shared[id(value)][1]

    def _is_large(self, value: Any) -> bool:
        array = sys.modules["numpy"].ndarray
        return isinstance(value, array) and value.nbytes > (self._max_nbytes or 0) and not value.dtype.hasobject
