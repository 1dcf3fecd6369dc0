"""The messenger: tells those outside of the grid. It never raises what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from htcgrid_core.domain.destination import Destination


class Heard(StrEnum):
    """What became of a message."""

    YES = "yes"
    LATER = "later"  # it may have been heard or not; to be sent again
    NEVER = "never"  # it was refused for good
    GONE = "gone"  # and nothing more is to be sent there


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a message, and why."""

    heard: Heard
    detail: str = ""


class Messenger(Protocol):
    """May be used from many threads."""

    def beat(self, token: str) -> Answer:
        """Say to a task of Step Functions that its session goes on."""

    def end_task(self, token: str, data: dict[str, Any]) -> Answer:
        """End a task of Step Functions with a session's manifest: success, or failure by its error's name."""

    def send(self, destination: Destination, events: Sequence[dict[str, Any]], now: float) -> list[Answer]:
        """Send CloudEvents, in as few requests as the destination allows; one answer for each, in order.

        Args:
            now: wall clock, seconds.
        """


class NoMessenger:
    """Of planes that reach nobody."""

    def beat(self, token: str) -> Answer:
        """Nobody hears it."""
        return _NOBODY

    def end_task(self, token: str, data: dict[str, Any]) -> Answer:
        """Nobody hears it."""
        return _NOBODY

    def send(self, destination: Destination, events: Sequence[dict[str, Any]], now: float) -> list[Answer]:
        """Nobody hears them."""
        return [_NOBODY] * len(events)


_NOBODY = Answer(Heard.LATER, "this process reaches nobody outside of the grid")
NO_MESSENGER = NoMessenger()
