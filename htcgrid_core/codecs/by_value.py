"""Pickling by value what the receiver cannot import: cloudpickle, with what it leaves out of a class and of code."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import CodeType
from typing import Any

import cloudpickle

from htcgrid_core.codecs.source_lines import FILENAME, SourceLines

_MAKES_CLASS, _NAMESPACE = "_make_skeleton_class", 3  # cloudpickle's, and which of its arguments a class begins with


def _own_file(code: CodeType) -> str:
    return code.co_filename


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Cloudpickle's, without its gaps.

    Args:
        file_of: what is written as the file of a code object; cloudpickle itself leaves it out from 3.1.3 on.
    """

    def __init__(self, file: io.BytesIO, file_of: Callable[[CodeType], str] = _own_file) -> None:
        super().__init__(file, protocol=5)
        self._file_of = file_of

    def reducer_override(self, obj: Any) -> Any:
        """As cloudpickle reduces it, but a class with ``__slots__`` is made with them again, and code with its file.

        Else the class's instances have a ``__dict__`` where it was rebuilt, which the class that they come back to has
        not, and tracebacks do not say where the code stands.
        """
        if type(obj) is CodeType:
            make, parts = self.dispatch_table[CodeType](obj)
            return make, (*parts[:FILENAME], self._file_of(obj), *parts[FILENAME + 1 :])
        reduced = super().reducer_override(obj)
        if not isinstance(obj, type) or "__slots__" not in obj.__dict__ or not isinstance(reduced, tuple):
            return reduced
        if reduced[0].__name__ != _MAKES_CLASS:  # it goes by name
            return reduced
        slots: Any = obj.__dict__["__slots__"]
        parts = list(reduced[1])
        parts[_NAMESPACE] = {
            **parts[_NAMESPACE],
            "__slots__": slots if isinstance(slots, str | dict) else tuple(slots),
        }
        return reduced[0], tuple(parts), *reduced[2:]


def pickle_by_value(value: Any) -> bytes:
    """Pickle as cloudpickle does: by name what can be imported, by value what stands in ``__main__`` or a function.

    Raises:
        Exception: whatever the object's own pickling raises.
    """
    with io.BytesIO() as file:
        _Pickler(file).dump(value)
        return file.getvalue()


def pickle_function(function: Callable[..., Any]) -> tuple[bytes, bytes]:
    """A function pickled likewise, and the files and source lines of what went by value, packed for ``load_function``.

    The pickle names no file of its code: it is the same wherever that lies.

    Raises:
        Exception: whatever the function's own pickling raises.
    """
    sources = SourceLines()
    with io.BytesIO() as file:
        _Pickler(file, sources.mark_of).dump(function)
        return file.getvalue(), sources.packed()
