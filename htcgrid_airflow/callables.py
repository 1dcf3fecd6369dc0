"""Python callables as Airflow has them: held unrendered, and sent to workers that cannot import a DAG file."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cloudpickle

from htcgrid_airflow.nested import changed_within

DAG_MODULE_PREFIX = "unusual_prefix_"  # of the names under which Airflow imports DAG files
_FOLDER_HASH = re.compile(rf"^{DAG_MODULE_PREFIX}[0-9a-f]{{40}}_")


@dataclass(frozen=True, slots=True)
class Held:
    """A callable in a template field, which Airflow would call in order to render it."""

    function: Callable[..., Any]

    def __str__(self) -> str:
        # Part of the serialized DAG, so the same at each parse and wherever its file lies: no address, and no hash.
        module = _FOLDER_HASH.sub("", str(self.function.__module__))
        return f"{module}.{getattr(self.function, '__qualname__', type(self.function).__qualname__)}"


def held(value: Any) -> Any:
    """The value, wrapped if it is a callable."""
    return Held(value) if callable(value) and not hasattr(value, "resolve") else value


def held_within(value: Any) -> Any:
    """The value, with callables wrapped wherever they stand in it."""
    return changed_within(value, held)


def called_within(value: Any) -> Any:
    """The value, with callables unwrapped again, to be sent along."""
    return changed_within(value, lambda one: one.function if isinstance(one, Held) else one)


def send_dag_files_along() -> None:
    """Have functions, classes and objects of the DAG files that are loaded here sent by value: no worker has these."""
    for name, module in list(sys.modules.items()):
        if name.startswith(DAG_MODULE_PREFIX) and getattr(module, "__name__", "") == name:
            cloudpickle.register_pickle_by_value(module)
