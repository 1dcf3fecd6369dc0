"""Futures among the inputs of a call: finding them, and putting what became of them in their place."""

from __future__ import annotations

import copyreg
from typing import Any

from prefect.futures import PrefectFuture
from prefect.utilities.annotations import BaseAnnotation, allow_failure, opaque, quote, unmapped
from prefect.utilities.collections import StopVisiting, visit_collection
from prefect.utilities.engine import resolve_to_final_result

PLAIN = frozenset({int, float, str, bytes, bool, type(None), complex})


def _rewrapped(annotation: BaseAnnotation) -> tuple[Any, ...]:
    return type(annotation), (annotation.unwrap(),)


for kind in (allow_failure, opaque, quote, unmapped):
    copyreg.pickle(kind, _rewrapped)  # by their own rules as tuples they come back as annotations of a tuple


def futures_in(value: Any) -> set[PrefectFuture[Any]]:
    """Every future in ``value``, but for those that are quoted."""
    found: set[PrefectFuture[Any]] = set()
    _find(value, found)
    return found


def _find(value: Any, found: set[PrefectFuture[Any]]) -> None:
    kind = type(value)
    if kind in PLAIN:
        return
    if isinstance(value, PrefectFuture):
        found.add(value)
    elif kind is list or kind is tuple or kind is set:
        for item in value:
            if type(item) not in PLAIN:
                _find(item, found)
    elif kind is dict:
        for key, item in value.items():
            _find(key, found)
            _find(item, found)
    else:
        visit_collection(value, visit_fn=_collect, return_data=False, context={"found": found})


def _collect(expression: Any, context: dict[str, Any]) -> Any:
    if isinstance(context.get("annotation"), quote):
        raise StopVisiting
    if isinstance(expression, PrefectFuture):
        context["found"].add(expression)
    return expression


def with_states(value: Any) -> Any:
    """``value`` with the state of each future in its place: Prefect's engine in the worker does the rest."""
    return visit_collection(value, visit_fn=_to_state, return_data=True, context={}) if futures_in(value) else value


def _to_state(expression: Any, context: dict[str, Any]) -> Any:
    if isinstance(context.get("annotation"), quote):
        raise StopVisiting
    return expression.state if isinstance(expression, PrefectFuture) else expression


def with_results(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters with results in the place of futures and states, and without annotations.

    Raises:
        UpstreamTaskError: what one of them waited for did not complete.
    """
    return {
        name: value
        if type(value) in PLAIN
        else visit_collection(
            value,
            visit_fn=resolve_to_final_result,
            return_data=True,
            remove_annotations=True,
            context={"parameter_name": name},
        )
        for name, value in parameters.items()
    }
