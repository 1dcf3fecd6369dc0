"""Whether a callable takes what it will be called with, before anything is written: there every task would fail."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from htcgrid_core.client.callables import call_of
from htcgrid_core.domain.errors import InvalidInput


def check_takes_event(function: Callable[..., Any]) -> None:
    """Whether ``function(event)``, or with the context too, is a call that it takes.

    Raises:
        InvalidInput: it is not.
    """
    if call_of(function) == "handler":
        check_takes_both(function)
    elif problem := _problem(function, (None,), {}):
        name = _name(function)
        raise InvalidInput(
            f"{_LEAD} {name} cannot be called as {_bare(name)}(event): {problem}; for several arguments there is "
            "grid.map(f, first, second)"
        )


def check_takes_both(handler: Callable[..., Any]) -> None:
    """Whether ``handler(event, context)`` is a call that it takes.

    Raises:
        InvalidInput: it is not.
    """
    if problem := _problem(handler, (None, None), {}):
        name = _name(handler)
        raise InvalidInput(
            f"{_LEAD} {name} cannot be called as {_bare(name)}(event, context), as handlers are: {problem}"
        )


def checked_calls(function: Callable[..., Any], calls: Iterable[Any]) -> Iterator[Any]:
    """The calls ``[args, kwargs]`` as they are; the first one is looked at now.

    Raises:
        InvalidInput: the function does not take it.
    """
    calls = iter(calls)
    for first in calls:
        args, kwargs = first
        if problem := _problem(function, args, kwargs):
            named = [f"{name}=..." for name in kwargs]
            name, given = _name(function), ", ".join(["..."] * len(args) + named)
            raise InvalidInput(f"{_LEAD} {name} cannot be called as {_bare(name)}({given}): {problem}")
        return chain([first], calls)
    return calls


def _problem(function: Callable[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
    try:
        signature = inspect.signature(function, follow_wrapped=False)  # a wrapper may be called otherwise
    except Exception:  # noqa: BLE001 - builtins have none, and what looks like a callable may raise anything
        return ""
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return ""


def _name(function: Callable[..., Any]) -> str:
    """Name and parameters, for people; without annotations, which may be texts, and would be shown in quotes."""
    name = getattr(function, "__name__", None) or type(function).__name__
    signature = inspect.signature(function, follow_wrapped=False)
    bare = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    return f"{name}{signature.replace(parameters=bare, return_annotation=signature.empty)}"


def _bare(name: str) -> str:
    return name.partition("(")[0]


_LEAD = "the session was not submitted:"
