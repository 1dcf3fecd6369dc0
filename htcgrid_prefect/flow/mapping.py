"""From the parameters of a ``map`` to those of each of its calls, as ``TaskRunner.map`` makes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prefect import Task
from prefect.exceptions import MappingLengthMismatch, MappingMissingIterable
from prefect.utilities.annotations import BaseAnnotation, allow_failure, opaque, quote, unmapped
from prefect.utilities.callables import (
    collapse_variadic_parameters,
    explode_variadic_parameter,
    get_parameter_defaults,
)
from prefect.utilities.collections import isiterable
from prefect.utilities.engine import collect_task_run_inputs_sync, resolve_inputs_sync

from htcgrid_prefect.flow.inputs import futures_in
from htcgrid_prefect.flow.remote_task import named_only


class MappedParameters:
    """The parameters of each call of one ``map``.

    Attributes:
        dependencies: upstream runs found in the parameters, for every call.

    Raises:
        MappingMissingIterable: there is nothing to map over.
        MappingLengthMismatch: the iterables differ in length.
    """

    def __init__(self, task: Task[..., Any], parameters: dict[str, Any]) -> None:
        self.dependencies: dict[str, set[Any]] = {
            name: collect_task_run_inputs_sync(value, max_depth=0) for name, value in parameters.items()
        }
        self._task = task
        self._named_only = named_only(task)
        self._iterables: dict[str, list[Any]] = {}
        self._annotations: dict[str, BaseAnnotation] = {}
        self.static: dict[str, Any] = {}
        resolved = resolve_inputs_sync(parameters, max_depth=0)  # waits for a future of a collection
        self._sort(explode_variadic_parameter(task.fn, resolved))
        self._lengths = {name: len(values) for name, values in self._iterables.items()}
        if not self._lengths:
            raise MappingMissingIterable(
                "No iterable parameters were received. Parameters for map must include at least one iterable. "
                f"Parameters: {parameters}"
            )
        if len(set(self._lengths.values())) > 1:
            raise MappingLengthMismatch(
                "Received iterable parameters with different lengths. Parameters for map must all be the same "
                f"length. Got lengths: {self._lengths}"
            )

    def _sort(self, parameters: dict[str, Any]) -> None:
        for name, given in parameters.items():
            value = given
            if isinstance(value, allow_failure | opaque | quote):
                self._annotations[name] = value
                value = value.unwrap()
            if isinstance(value, unmapped):
                self.static[name] = value.value
            elif isiterable(value):
                self._iterables[name] = value if isinstance(value, list) else list(value)
            else:
                self.static[name] = value
        for name, default in get_parameter_defaults(self._task.fn).items():
            if name not in self._iterables:
                self.static.setdefault(name, default)

    def __len__(self) -> int:
        return next(iter(self._lengths.values()))

    def has_futures(self) -> bool:
        """Whether any call has to wait for another."""
        quoted = {name for name, annotation in self._annotations.items() if isinstance(annotation, quote)}
        given = {**self._iterables, **self.static}
        return any(futures_in(value) for name, value in given.items() if name not in quoted)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The parameters of each call."""
        for position in range(len(self)):
            call = {name: values[position] for name, values in self._iterables.items()}
            call.update(self.static)
            for name, annotation in self._annotations.items():
                call[name] = annotation.rewrap(call[name])
            yield call if self._named_only else collapse_variadic_parameters(self._task.fn, call)
