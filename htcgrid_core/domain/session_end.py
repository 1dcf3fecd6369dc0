"""When a session is over, and how it ends: by its counters, its threshold of failures, or its deadline."""

from __future__ import annotations

from dataclasses import dataclass

from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord


@dataclass(frozen=True, slots=True)
class Verdict:
    """That a session is over, and why."""

    event: SessionEvent
    reason: str = ""


def verdict(record: SessionRecord, now: float) -> Verdict | None:
    """Whether a RUNNING session is over at wall-clock time ``now``; None if it goes on.

    Each condition, once true, stays true, so whoever sees it first may write it.
    """
    if record.state is not SessionState.RUNNING:
        return None
    counters = record.counters
    if record.tolerated is not None and counters.failed > record.tolerated:
        return Verdict(
            SessionEvent.FAIL,
            f"{counters.failed} of {counters.total} tasks failed, over the threshold of {record.tolerated}",
        )
    if counters.pending == 0:
        if counters.failed and record.tolerated is None:
            return Verdict(SessionEvent.FAIL, f"{counters.failed} of {counters.total} tasks failed")
        return Verdict(SessionEvent.COMPLETE)
    if record.deadline_at is not None and now >= record.deadline_at:
        return Verdict(SessionEvent.FAIL, f"its deadline passed with {counters.pending} tasks unfinished")
    return None
