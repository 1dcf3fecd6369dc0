"""Large arrays among the arguments, however deep: stored once on the grid, not once for each call."""

from __future__ import annotations

import copyreg
import io
import operator
import pickle
import sys
import weakref
from collections import ChainMap
from collections.abc import MutableMapping
from typing import Any

import cloudpickle

from htcgrid_core.client.grid import Grid
from htcgrid_core.codecs.events import EncodedEvent, encoded_by
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.codecs.values import encode_pickle


class SharedArrays:
    """The arrays of one call of ``Parallel`` that are larger than ``max_nbytes``; None shares nothing.

    They are found where they are pickled: in lists, frames, sparse matrices, estimators and closures. As with
    joblib's own memory maps, which begin at the same size, a task sees such an array read-only, since it is shared with
    the other tasks of its worker; and what is written into one after its first call is not seen.
    """

    def __init__(self, grid: Grid, max_nbytes: int | None) -> None:
        self._grid = grid
        self._max_nbytes = max_nbytes
        self._shared: dict[int, tuple[weakref.ref[Any], SharedInput]] = {}  # by the array's id while it is alive

    def encoded(self, *args: Any) -> EncodedEvent:
        """The event of a task with these arguments, with references in place of large arrays.

        Raises:
            BaseException: whatever pickling it raises.
        """
        return encoded_by(self._pickled, [args, {}])

    def _pickled(self, value: Any) -> bytes:
        if self._max_nbytes is None or "numpy" not in sys.modules:
            return encode_pickle(value)
        try:
            data = self._dumped(value, pickle.Pickler, copyreg.dispatch_table)
        except Exception:  # noqa: BLE001 - lambdas, local classes: as encode_pickle
            data = b""
        if data and b"__main__" not in data:
            return data
        return self._dumped(value, cloudpickle.Pickler, cloudpickle.Pickler.dispatch_table)

    def _dumped(self, value: Any, kind: type[pickle.Pickler], reducers: MutableMapping[Any, Any]) -> bytes:
        numpy, buffer = sys.modules["numpy"], io.BytesIO()
        arrays: dict[Any, Any] = dict.fromkeys((numpy.ndarray, numpy.memmap), self._reduced)
        pickler = type(kind.__name__, (kind,), {"dispatch_table": ChainMap(arrays, reducers)})
        pickler(buffer, protocol=5).dump(value)
        return buffer.getvalue()

    def _reduced(self, array: Any) -> Any:
        if array.nbytes <= (self._max_nbytes or 0) or array.dtype.hasobject:
            return array.__reduce_ex__(5)
        return self._stored(array).__reduce__()

    def _stored(self, array: Any) -> SharedInput:
        known = self._shared.get(id(array))
        if known is not None and known[0]() is array:
            return known[1]
        key, shared = id(array), self._shared
        reference = self._grid.put(_ReadOnly(array), codec="pickle")
        shared[key] = weakref.ref(array, lambda _: shared.pop(key, None)), reference
        return reference


class _ReadOnly:
    """Pickled as an array that is loaded read-only: one that the pickle itself holds the memory of."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __reduce__(self) -> Any:
        numpy = sys.modules["numpy"]
        plain = numpy.asarray(self._array).view()
        if not (plain.flags.c_contiguous or plain.flags.f_contiguous):
            plain = numpy.ascontiguousarray(plain)
        plain.flags.writeable = False
        if plain.dtype.kind not in "mM":
            return plain.__reduce_ex__(5)
        return operator.methodcaller("view", plain.dtype), (plain.view("i8"),)  # dates have no buffers of their own
