"""Pickling by value what the receiver cannot import: cloudpickle, with what it leaves out of a class."""

from __future__ import annotations

import io
from typing import Any

import cloudpickle

_MAKES_CLASS, _NAMESPACE = "_make_skeleton_class", 3  # cloudpickle's, and which of its arguments a class begins with


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    def reducer_override(self, obj: Any) -> Any:
        """As cloudpickle reduces it, but a class with ``__slots__`` is made with them again.

        Else its instances have a ``__dict__`` where it was rebuilt, which the class that they come back to has not.
        """
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
        _Pickler(file, protocol=5).dump(value)
        return file.getvalue()
