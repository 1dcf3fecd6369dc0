"""Python callables as functions of a grid."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from types import FunctionType, MethodType
from typing import Any, Literal

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import Environment, FunctionSpec
from htcgrid_core.gateway.protocol import Gateway

Call = Literal["handler", "event", "args"]


def from_callable(
    gateway: Gateway, function: Callable[..., Any], environment: Environment | None, call: Call | None = None
) -> FunctionSpec:
    """A Python callable, cloudpickled and stored.

    What the worker can import is sent by reference, ``__main__`` and local functions by value.

    Args:
        call: how it is called; None to tell from its signature: ``handler(event, context)`` if its second
            parameter is named context, else ``function(event)``.

    Raises:
        InvalidInput: it cannot be pickled.
    """
    from htcgrid_core.codecs.by_value import pickle_function  # 15 ms, and references do not need it

    name = f"{getattr(function, '__module__', None) or type(function).__module__}:{_qualname(function)}"
    try:
        pickled, sources = pickle_function(function)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever pickling the function's closure raises
        raise InvalidInput(f"{name} cannot be sent to the grid: {type(error).__name__}: {error}") from error
    blob = gateway.put_callable(pickled)
    return FunctionSpec(
        name=name[:512],
        blob=blob,
        call=call or call_of(function),
        environment=environment,
        sources=gateway.put(sources, "bytes").digest if sources else None,
    )


def is_sent_by_name(function: Callable[..., Any]) -> bool:
    """Whether the pickle of a callable is its module's and its own name, and so the same however often it is made."""
    if not isinstance(function, FunctionType) or function.__module__ == "__main__":
        return False
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not function:
        return False
    import cloudpickle

    return not cloudpickle.list_registry_pickle_by_value()


def _qualname(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def call_of(function: Callable[..., Any]) -> Call:
    """How a callable is called with an event: with the context too, if its second parameter is named so."""
    try:
        names = _positional(function, 2)
    except (TypeError, ValueError):  # builtins may have no signature
        return "event"
    return "handler" if names[1:2] == ["context"] else "event"


def _positional(function: Callable[..., Any], wanted: int) -> list[str]:
    """The positional parameters that a callable has itself, whatever it wraps; if it takes any, those of what it wraps.

    ``functools.wraps`` has a wrapper look like what it wraps, which may be called otherwise.

    Raises:
        TypeError, ValueError: it has no signature.
    """
    if isinstance(function, MethodType):
        return _positional(function.__func__, wanted + 1)[1:]
    if isinstance(method := inspect.getattr_static(type(function), "__call__", None), FunctionType):
        return _positional(method, wanted + 1)[1:]
    if isinstance(function, partial):
        left = _positional(function.func, wanted + len(function.args))[len(function.args) :]
        return list(takewhile(lambda name: name not in function.keywords, left))

    def takes_those_it_names(one: Callable[..., Any]) -> bool:
        code = one.__code__ if isinstance(one, FunctionType) else None
        return code is not None and (code.co_argcount >= wanted or not code.co_flags & inspect.CO_VARARGS)

    inner = inspect.unwrap(function, stop=takes_those_it_names)
    if isinstance(inner, FunctionType):
        return list(inner.__code__.co_varnames[: inner.__code__.co_argcount])
    parameters = inspect.signature(inner, follow_wrapped=False).parameters.values()
    return [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
