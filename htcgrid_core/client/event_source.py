"""EventSource: a table, a folder or a query whose rows are events, the same ones in the same order at each reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from htcgrid_core.client.files.spool import Spool
from htcgrid_core.client.files.typed_events import TypedEvents


@runtime_checkable
class EventSource(Protocol):
    """What ``Grid.submit`` takes as events, beside any iterable: read in bounded memory, and again by a retry.

    Attributes:
        is_ordered: whether each reading of the same input gives the same rows in the same order. Where it does not,
            the rows are staged on disk and sorted by what is in them before the first is submitted.
    """

    @property
    def is_ordered(self) -> bool:
        """See above."""

    def identity(self) -> str:
        """Text that is another one when the input is another: sizes and times of files, a table's version, a query."""

    def __iter__(self) -> Iterator[Any]:
        """The events with Python's own values, for a callable: dates, Decimals, UUIDs."""

    def as_json(self) -> Iterator[Any]:
        """The events as JSON has them, for a handler that is named."""


def events_as(codec: str, events: Iterable[Any]) -> Iterable[Any]:
    """The events as a session of this codec takes them, in an order that a retry finds again."""
    if isinstance(events, EventSource):
        rows = events.as_json() if codec == "json" else iter(events)
        return rows if events.is_ordered else staged(rows)
    return events.as_json() if codec == "json" and isinstance(events, TypedEvents) else events


def staged(rows: Iterable[Any]) -> Iterator[Any]:
    """All rows, first put on disk and then sorted by what is in them: whoever reads the same has the same vector."""
    import pickle

    with Spool() as spool:
        # A pickle of equal rows is not always the same bytes, their repr is.
        spool.put((repr(row).encode("utf-8", "surrogatepass"), pickle.dumps(row, protocol=5)) for row in rows)
        for _, data in spool:
            yield pickle.loads(data)  # noqa: S301 - made above
