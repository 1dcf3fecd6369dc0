"""Encoded events looked at one after the other by a schema, while they pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from htcgrid_core.codecs.events import EncodedEvent, data_of
from htcgrid_core.codecs.schemas import Found
from htcgrid_core.codecs.values import decode_json
from htcgrid_core.domain.errors import EventProblem, InvalidEvents
from htcgrid_core.domain.extent import Extent, is_looked_at

SHOWN = 20

Rejected = Callable[[int, Any, Found], None]


class Checking(Protocol):
    """What looks at a value: a ``Schema``."""

    def problems(self, value: Any) -> Found:
        """What is wrong with it; empty if nothing is."""


class EventCheck:
    """The check of one vector.

    Args:
        source: whose events they are, for people.
        rejected: told of each event that is no good: its row, the event, and what is wrong. None: that is an error.

    Attributes:
        rows: that have passed, or not; in whatever process.
        checked: how many of them were looked at.
        bad: how many of these were no good.
    """

    def __init__(self, schema: Checking, extent: Extent, source: str, rejected: Rejected | None = None) -> None:
        self._problems = schema.problems
        self._extent = extent
        self._source = source
        self._rejected = rejected
        self._told: list[EventProblem] = []
        self.rows = self.checked = self.bad = 0

    def passed(self, events: Iterable[EncodedEvent]) -> Iterator[EncodedEvent]:
        """Those of the next events that are good; all are read, so that all that are not are counted."""
        problems, extent, is_all = self._problems, self._extent, self._extent == "all"
        for row, event in enumerate(events, self.rows):
            self.rows += 1
            if is_all or is_looked_at(extent, row):
                self.checked += 1
                value = decode_json(data_of(event))
                if found := problems(value):
                    self._note(row, value, found)
                    continue
            yield event

    def _note(self, row: int, value: Any, found: Found) -> None:
        self.bad += 1
        self._told += [EventProblem(row, *one) for one in found[: SHOWN - len(self._told)]]
        if self._rejected is not None:
            self._rejected(row, value, found)

    def conclude(self) -> None:
        """To be called once all have passed.

        Raises:
            InvalidEvents: some were not good, and nobody was told of them.
        """
        if self.bad and self._rejected is None:
            raise InvalidEvents(self._source, self._told, self.bad, self.checked)
