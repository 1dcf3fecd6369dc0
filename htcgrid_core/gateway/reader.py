"""The gateway's long calls for those who must not block: waits, and streams of a session's tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord


class AsyncReader(Protocol):
    """One grid, in one event loop. What is raised is what ``gateway.protocol`` says of the same calls."""

    async def session(self, session_id: str) -> SessionRecord:
        """One session's row."""

    async def change(self, seen: SessionRecord, timeout_seconds: float | None) -> SessionRecord | None:
        """Wait until a session may not be any more what was seen of it, or the time is over, or for a while.

        Returns:
            What it is now; None if that is to be asked for.
        """

    async def end(self, seen: SessionRecord, timeout_seconds: float | None) -> SessionRecord | None:
        """As ``change``, of one who wants to know of the session's end alone."""

    def pages(self, record: SessionRecord, cursor: int = 0) -> AsyncIterator[TaskPage]:
        """What was committed after ``cursor`` and until now."""

    def outcomes(self, record: SessionRecord) -> AsyncIterator[tuple[int, Outcome | None]]:
        """Every task's outcome in index order."""

    def tasks(self, record: SessionRecord, state: TaskState | None = None) -> AsyncIterator[TaskPage | TaskOutcome]:
        """All tasks, or those in one state."""

    async def close(self) -> None:
        """Let go of the connections."""
