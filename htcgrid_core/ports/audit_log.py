"""The audit log: who did what, by session and by time; it is only ever appended to.

What is done to a session is appended by the session store, in the write that does it. All else is appended here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from htcgrid_core.domain.audit import AuditEntry, AuditPage


class AuditLog(Protocol):
    """Entries. Methods raise GridUnavailable when the outcome of a call is unknown or it did not happen."""

    def append(self, entry: AuditEntry, token: str) -> None:
        """Add an entry; once, however often this is repeated with the same token."""

    def of_session(self, session_id: str) -> list[AuditEntry]:
        """A session's entries, oldest first; also of one that has been deleted."""

    def entries(self, since: float, until: float, limit: int, cursor: str | None = None) -> AuditPage:
        """Entries of ``since <= at < until``, newest first.

        Args:
            limit: of one page.
            cursor: of the page before.
        """

    def ends(self, since: float, until: float) -> Iterator[AuditEntry]:
        """Ends of sessions, with what these took, of ``since <= at < until``, newest first."""

    def prune(self, now: float) -> int:
        """Delete what is older than it is kept, of sessions that are gone; how many entries."""


class NoAudit:
    """Of planes whose audit nobody keeps beyond what the sessions' own rows say."""

    def append(self, entry: AuditEntry, token: str) -> None:
        """It is forgotten."""

    def of_session(self, session_id: str) -> list[AuditEntry]:
        """There are none."""
        return []

    def entries(self, since: float, until: float, limit: int, cursor: str | None = None) -> AuditPage:
        """There are none."""
        return AuditPage((), None)

    def ends(self, since: float, until: float) -> Iterator[AuditEntry]:
        """There are none."""
        return iter(())

    def prune(self, now: float) -> int:
        """There is nothing."""
        return 0


NO_AUDIT = NoAudit()
