"""Reducers by their names, for command lines and configurations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.reducers.base import Reducer
from htcgrid_core.reducers.histogram import Histogram
from htcgrid_core.reducers.lists import Concat, Top
from htcgrid_core.reducers.quantiles import Quantiles
from htcgrid_core.reducers.several import Several
from htcgrid_core.reducers.sums import Count, Mean, Sum, Variance

_PLAIN: dict[str, Callable[..., Reducer[Any, Any]]] = {"sum": Sum, "mean": Mean, "variance": Variance}
_WHOLE: dict[str, Callable[[], Reducer[Any, Any]]] = {"count": Count, "concat": Concat}  # of results, not of numbers
FORMS = "count, sum, mean, variance, quantiles:0.01,0.5, histogram:0,10,100, top:10, bottom:10, concat"


def reducer_named(texts: str | Sequence[str], of: str | None = None) -> Reducer[Any, Any]:
    """The reducer of a name, such as ``mean`` or ``quantiles:0.01,0.99``; of several, one that does them all.

    Args:
        texts: what several make comes by these texts.
        of: the key, in each result, of what is reduced; None if results are numbers.

    Raises:
        InvalidInput: there is none of that name, or it takes other arguments.
    """
    if isinstance(texts, str):
        return _named(texts, of)
    if len(texts) == 1:
        return _named(texts[0], of)
    return Several({text: _named(text, of) for text in texts})


def _named(text: str, of: str | None) -> Reducer[Any, Any]:
    name, colon, given = text.partition(":")
    arguments = given.split(",") if colon else []
    if name in _WHOLE and not arguments:
        return _WHOLE[name]()
    if name in _PLAIN and not arguments:
        return _PLAIN[name](of=of)
    try:
        if name == "quantiles" and arguments:
            return Quantiles([float(one) for one in arguments], of=of)
        if name == "histogram" and arguments:
            return Histogram([float(one) for one in arguments], of=of)
        if name in ("top", "bottom") and len(arguments) == 1:
            return Top(int(arguments[0]), by=of, smallest=name == "bottom")
    except ValueError as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"{text!r} is no reducer: {error}") from None
    raise InvalidInput(f"{text!r} is no reducer: {FORMS}")


def plain(value: Any) -> Any:
    """What a reducer made, as JSON has it: objects with texts as keys."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value
