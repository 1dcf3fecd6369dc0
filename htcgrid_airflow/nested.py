"""Values of steps with others inside: changed wherever they stand, and left as they are where nothing is to change."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence


def changed_within(value: Any, change: Callable[[Any], Any]) -> Any:
    """What ``change`` makes of a value, and of those in its lists, tuples and dicts; itself, if it changes none."""
    value = change(value)
    if type(value) is dict:
        inside = {name: changed_within(one, change) for name, one in value.items()}
        return inside if any(inside[name] is not one for name, one in value.items()) else value
    if type(value) in (list, tuple):
        items = [changed_within(one, change) for one in value]
        is_same = all(one is other for one, other in zip(items, value, strict=True))
        return value if is_same else type(value)(items)
    return value


def fetched(value: Any) -> Any:
    """A list in the place of each XCom that is fetched item by item when it is looked at.

    So Airflow hands over what the instances of a mapped task returned. It can be read by the task alone that got it.
    """
    return changed_within(value, lambda one: _all_of(one) if _is_lazy(one) else one)


def _is_lazy(value: Any) -> bool:
    """Sequences of Airflow's own: of a mapped task, and what ``map``, ``zip`` and ``concat`` make of them."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes | list | tuple | range)
        and type(value).__module__.partition(".")[0] == "airflow"
    )


def _all_of(lazy: Sequence[Any]) -> list[Any]:
    if isinstance(lazy, LazyXComSequence):
        with contextlib.suppress(TypeError):  # asked for in one call, if Airflow answers that
            return list(lazy[:])
    return list(lazy)
