"""Python callables as Airflow has them: held unrendered, and sent to workers that cannot import a DAG file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cloudpickle

DAG_MODULE_PREFIX = "unusual_prefix_"  # of the names under which Airflow imports DAG files


@dataclass(frozen=True, slots=True)
class Held:
    """A callable in a template field, which Airflow would call in order to render it."""

    function: Callable[..., Any]

    def __str__(self) -> str:
        # Part of the serialized DAG, so the same at each parse: no address.
        return f"{self.function.__module__}.{getattr(self.function, '__qualname__', type(self.function).__qualname__)}"


def held(value: Any) -> Any:
    """The value, wrapped if it is a callable."""
    return Held(value) if callable(value) else value


def portable(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same callable, to be sent by value if it is defined in a DAG file, which no worker can import."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if module is not None and module.__name__.startswith(DAG_MODULE_PREFIX):
        cloudpickle.register_pickle_by_value(module)
    return function
