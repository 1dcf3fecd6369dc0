"""Dead letters: hints that a queue delivered again and again, and nobody ever dealt with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from htcgrid_core.ports.bundle_queue import Hint


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One of them.

    Attributes:
        hint: None if it is not one of ours.
        redrives: how often it was taken out of here, and sent again, before.
        text: what it says, for people.
        sent_at: wall clock, seconds.
    """

    pool: str
    hint: Hint | None
    redrives: int
    text: str
    sent_at: float
    receipt: Any = None


class DeadLetters(Protocol):
    """The dead letters of all pools."""

    def receive(self, limit: int) -> Sequence[DeadLetter]:
        """Some of them, which nobody else receives for a while."""

    def redrive(self, letters: Sequence[DeadLetter]) -> None:
        """Send hints to their pool's agents again, one redrive more, and delete the letters."""

    def put_back(self, letters: Sequence[DeadLetter]) -> None:
        """Hide them from others no longer."""

    def delete(self, letters: Sequence[DeadLetter]) -> None:
        """They are dealt with."""


def look_at(dead_letters: DeadLetters, limit: int) -> list[DeadLetter]:
    """Dead letters there are now, in no order; while they are read, nobody else receives them."""
    letters = taken(dead_letters, limit)
    dead_letters.put_back(letters)
    return letters


def taken(dead_letters: DeadLetters, limit: int) -> list[DeadLetter]:
    """Dead letters, hidden from others for a while, so that none is met twice."""
    letters: list[DeadLetter] = []
    while len(letters) < limit and (found := dead_letters.receive(min(10, limit - len(letters)))):
        letters += found
    return letters
