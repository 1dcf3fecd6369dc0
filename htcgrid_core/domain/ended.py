"""Ends of sessions, page by page: what those are told who want to hear of each session that ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class End:
    """A session that has ended, and when it did, as whoever ended it says (seconds since the epoch)."""

    session_id: str
    at: float


@dataclass(frozen=True, slots=True)
class EndedPage:
    """Some of the ends that a cursor leads to. The same end may be in several pages; none is in none.

    Attributes:
        cursor: to go on from; text that means nothing to others.
        more: whether the next page may be asked for at once.
        round_over: this page ends a round. An end that was in no page of a round will be in no page of the next ones.
    """

    ends: tuple[End, ...]
    cursor: str
    more: bool
    round_over: bool
