"""Specs of what was submitted lately: whoever asks for the same again need not have it checked and written anew."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from htcgrid_core.domain.session import SessionSpec

SPECS_KNOWN = 256


class SpecCache:
    """Specs by their function and options. May be used from many threads."""

    def __init__(self) -> None:
        self._specs: dict[Hashable, SessionSpec] = {}

    def spec(self, function: Hashable, options: Mapping[str, Any], make: Callable[[], SessionSpec]) -> SessionSpec:
        """The spec that ``make`` made for this function and these options, or makes now.

        Args:
            function: all that the spec depends on besides the options.
        """
        values = [tuple(value.items()) if type(value) is dict else value for value in options.values()]
        key = (function, *options, *map(type, values), *values)
        try:
            known = self._specs.get(key)
        except TypeError:  # an option of a type that nobody takes: ``make`` says so
            return make()
        if known is None:
            if len(self._specs) >= SPECS_KNOWN:
                self._specs.clear()
            known = self._specs[key] = make()
        return known
