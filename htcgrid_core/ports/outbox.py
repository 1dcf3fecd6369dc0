"""The outbox: who is still to be told of which session's end. Its rows are written before their sessions are.

So the one write that ends a session, whichever release makes it, is also the write that makes its rows due.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.notification import Due, Notification


class Outbox(Protocol):
    """Rows by session and recipient. Each write is atomic and safe to repeat after a lost reply.

    Methods raise GridUnavailable when the outcome of a call is unknown or it did not happen.
    """

    def get(self, session_id: str, to: str) -> Notification | None:
        """One row, as the last write left it."""

    def of(self, session_id: str) -> list[Notification]:
        """All rows of a session."""

    def pending(self) -> list[Due]:
        """Rows that are not settled; the list may lag behind writes."""

    def replace(self, before: Notification | None, after: Notification) -> bool:
        """Write ``after`` in the place of ``before``, or of nothing; False if another row is there by now.

        A row that is ``after`` already was written by an earlier try of this call: True.
        """

    def forget(self, session_ids: Sequence[str]) -> None:
        """Delete the settled rows of sessions that are no more."""

    def destination(self, name: str) -> Destination | None:
        """A destination by its name."""

    def destinations(self) -> list[Destination]:
        """All of them, by name."""

    def put_destination(self, destination: Destination) -> None:
        """Register a destination, in the place of one with the same name."""

    def remove_destination(self, name: str) -> bool:
        """Forget a destination; False if there is none."""


class NoOutbox:
    """Of planes that notify nobody."""

    def get(self, session_id: str, to: str) -> Notification | None:
        """There is none."""
        return None

    def of(self, session_id: str) -> list[Notification]:
        """There are none."""
        return []

    def pending(self) -> list[Due]:
        """There are none."""
        return []

    def replace(self, before: Notification | None, after: Notification) -> bool:
        """Nobody would ever be told."""
        raise InvalidInput("this grid has no outbox: nobody can be told of a session's end")

    def forget(self, session_ids: Sequence[str]) -> None:
        """There are none."""

    def destination(self, name: str) -> Destination | None:
        """There is none."""
        return None

    def destinations(self) -> list[Destination]:
        """There are none."""
        return []

    def put_destination(self, destination: Destination) -> None:
        """Nobody would ever be told."""
        raise InvalidInput("this grid has no outbox: it takes no destinations")

    def remove_destination(self, name: str) -> bool:
        """There is none."""
        return False


NO_OUTBOX = NoOutbox()
