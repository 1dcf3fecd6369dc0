"""Events of a file whose format has types that JSON has not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any


class TypedEvents(ABC):
    """Iterated, they are Python's own values: dates, Decimals, UUIDs."""

    @abstractmethod
    def __iter__(self) -> Iterator[Any]: ...

    @abstractmethod
    def as_json(self) -> Iterator[Any]:
        """As a named handler gets them."""
