"""Events of a file whose format has types that JSON has not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any


class TypedEvents(ABC):
    """Iterated, they are Python's own values: dates, Decimals, UUIDs."""

    @abstractmethod
    def __iter__(self) -> Iterator[Any]: ...

    @abstractmethod
    def as_json(self) -> Iterator[Any]:
        """As a named handler gets them."""


def events_as(codec: str, events: Iterable[Any]) -> Iterable[Any]:
    """The events as a session of this codec takes them."""
    return events.as_json() if codec == "json" and isinstance(events, TypedEvents) else events
