"""How far a session is."""

from __future__ import annotations

from dataclasses import dataclass

from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a session is; exact, and O(1) in its size.

    Attributes:
        total, completed, failed, cancelled, pending: tasks; pending is what is left of the total.
        reason: why the session ended, if not COMPLETED.
    """

    __module__ = "htcgrid_core"  # in pickles: the public name, wherever its file is

    session_id: str
    name: str
    state: SessionState
    total: int
    completed: int
    failed: int
    cancelled: int
    pending: int
    submitted_at: float
    ended_at: float | None
    reason: str

    @property
    def ended(self) -> bool:
        """Whether the session is over."""
        return self.ended_at is not None


def progress_of(record: SessionRecord) -> Progress:
    """A session's row as its user sees it."""
    counters = record.counters
    return Progress(
        session_id=record.session_id,
        name=record.name,
        state=record.state,
        total=counters.total,
        completed=counters.completed,
        failed=counters.failed,
        cancelled=counters.cancelled,
        pending=counters.pending,
        submitted_at=record.submitted_at,
        ended_at=record.ended_at,
        reason=record.reason,
    )
