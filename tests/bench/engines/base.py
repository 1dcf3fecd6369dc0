"""What every engine under measurement can do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from tests.bench.events import Event

Task = Callable[[Any], Any]


class UnavailableError(Exception):
    """The engine is not installed here; the message says how to get it."""


class Engine(Protocol):
    """A way to run tasks on a number of workers."""

    def __enter__(self) -> Self:
        """Start servers and workers."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything that was started."""
        ...

    def run(self, task: Task, events: Sequence[Event]) -> list[Any]:
        """Run all events as separate tasks and return the results in order."""
        ...

    def one(self, task: Task, event: Event) -> Any:
        """Run one event and wait for its result."""
        ...


class Closing:
    """Context management for an engine that owns things with a ``close``."""

    def __enter__(self) -> Self:
        """Start; an engine with something to start does it here."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.close()

    def close(self) -> None:
        """Stop everything that was started."""
        raise NotImplementedError
