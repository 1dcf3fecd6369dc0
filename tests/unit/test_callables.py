"""How a callable is called is told by what it takes itself, not by what it wraps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from htcgrid_core.client.callables import call_of


def handler(event: Any, context: Any) -> Any:
    """A handler."""


def function(event: Any) -> Any:
    """A function."""


def of_desk(desk: str, event: Any, context: Any) -> Any:
    """A handler of many desks."""


def by_keyword(event: Any, *, context: Any = None) -> Any:
    """A function."""


def one_argument(inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def wrapper(event: Any) -> Any:
        return inner(event, None)

    return wrapper


def any_arguments(inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    return wrapper


def one_and_more(inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def wrapper(event: Any, *more: Any) -> Any:
        return inner(event, *more)

    return wrapper


def gives_context(inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def wrapper(event: Any, context: Any, *rest: Any) -> Any:
        return inner(event)

    return wrapper


class Methods:
    def plain(self, event: Any, context: Any) -> Any: ...

    def alone(self, event: Any) -> Any: ...

    @any_arguments
    def wrapped(self, event: Any, context: Any) -> Any: ...

    @one_and_more
    def passed_on(self, event: Any, context: Any) -> Any: ...

    @classmethod
    def of_class(cls, event: Any, context: Any) -> Any: ...

    @staticmethod
    def static(event: Any, context: Any) -> Any: ...

    def __call__(self, event: Any, context: Any = None) -> Any: ...


class Wrapped:
    @any_arguments
    def __call__(self, event: Any, context: Any) -> Any: ...


def with_copied_signature() -> Callable[..., Any]:
    import inspect

    told = any_arguments(handler)
    told.__signature__ = inspect.signature(handler)  # type: ignore[attr-defined]
    return one_argument(told)  # wraps copies it


@pytest.mark.parametrize(
    ("call", "takes"),
    [
        ("handler", handler),
        ("event", function),
        ("event", one_argument(handler)),
        ("handler", any_arguments(handler)),
        ("event", any_arguments(function)),
        ("handler", one_and_more(handler)),
        ("handler", gives_context(function)),
        ("event", any_arguments(one_argument(handler))),
        ("handler", any_arguments(gives_context(function))),
        ("event", with_copied_signature()),
        ("handler", Methods().plain),
        ("event", Methods().alone),
        ("handler", Methods().wrapped),
        ("handler", Methods().passed_on),
        ("handler", Methods.of_class),
        ("handler", Methods.static),
        ("handler", Methods()),
        ("handler", Wrapped()),
        ("handler", functools.partial(any_arguments(of_desk), "rates")),
        ("event", functools.partial(handler, context=None)),
        ("handler", functools.lru_cache(handler)),
        ("event", functools.partial(handler, 1)),
        ("handler", functools.partial(of_desk, "rates")),
        ("event", len),
        ("event", dict),
        ("event", by_keyword),
    ],
)
def test_call_style(call: str, takes: Callable[..., Any]) -> None:
    assert call_of(takes) == call
