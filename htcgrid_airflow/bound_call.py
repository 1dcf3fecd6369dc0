"""A call of a decorated function, made once for each item: as it was written, whatever its parameters' kinds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from htcgrid_core import InvalidInput

Place = int | slice | str
"""Where an argument stands in a call: behind how many, all those that ``*args`` takes, or under its name."""


class BoundCall:
    """The arguments of a call, some of which hold a vector.

    What was given by position stays so, and what was given by name, too: the function may tell them apart.

    Attributes:
        vectors: what was given for each argument of ``over``.
    """

    def __init__(
        self, function: Callable[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any], over: str | Sequence[str]
    ) -> None:
        """A call as it was written.

        Args:
            over: the argument, or arguments, that hold a vector: one of its items stands in its place in each call.

        Raises:
            InvalidInput: the function takes no such call, or is not given what ``over`` names.
        """
        self._args, self._kwargs = list(args), dict(kwargs)
        signature, name = inspect.signature(function), getattr(function, "__name__", repr(function))
        try:
            places = signature.bind(*range(len(self._args)), **{key: key for key in self._kwargs}).arguments
        except TypeError as error:
            raise InvalidInput(f"{name} cannot be called so: {error}") from error
        names = (over,) if isinstance(over, str) else tuple(over)
        self._places = [self._place(wanted, places, signature.parameters) for wanted in names]
        missing = [wanted for wanted, place in zip(names, self._places, strict=True) if place is None]
        if missing:
            raise InvalidInput(f"over={over!r}: {name} is not given {', '.join(missing)}")
        self.vectors = [self._given(place) for place in self._places]

    def _place(
        self, wanted: str, places: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]
    ) -> Place | None:
        place, parameter = places.get(wanted), parameters.get(wanted)
        if isinstance(place, int | str):
            return place
        if isinstance(place, tuple):
            return slice(place[0], place[-1] + 1)
        if wanted in self._kwargs:  # one of those that the function takes as **kwargs
            return wanted
        if parameter is None or parameter.default is parameter.empty or parameter.kind is parameter.POSITIONAL_ONLY:
            return None
        self._kwargs[wanted] = parameter.default
        return wanted

    def _given(self, place: Place | None) -> Any:
        return self._kwargs[place] if isinstance(place, str) else self._args[place or 0]

    def share(self, share: Callable[[Any], Any]) -> None:
        """Replace every argument that is the same in all calls by what ``share`` makes of it."""
        aside = {place for place in self._places if isinstance(place, int | str)}
        for place in self._places:
            if isinstance(place, slice):
                aside.update(range(place.start, place.stop))
        self._args = [value if at in aside else share(value) for at, value in enumerate(self._args)]
        self._kwargs = {key: value if key in aside else share(value) for key, value in self._kwargs.items()}

    def of(self, items: Iterable[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The call for these items, one for each argument of ``over``."""
        args, kwargs = list(self._args), dict(self._kwargs)
        for place, item in zip(self._places, items, strict=True):
            if isinstance(place, str):
                kwargs[place] = item
            elif isinstance(place, slice):
                args[place] = [item]
            elif place is not None:
                args[place] = item
        return args, kwargs
