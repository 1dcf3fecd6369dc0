"""What a session should look like, in a few lines: the model that the services are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from htcgrid_core.domain.lifecycle import SESSION, SessionState
from htcgrid_core.domain.session import SessionRecord


@dataclass
class ModelSession:
    """One session as its submitter and its agents know it.

    Attributes:
        events, options: the body that was submitted.
        outcomes: of each task that an accepted commit had one for: its result, or None if it failed.
        written: whether all of its bundles are.
        cancelled: whether somebody asked for its end.
        end: the row once it had ended.
    """

    session_id: str
    events: list[Any]
    options: dict[str, Any]
    outcomes: dict[int, Any] = field(default_factory=dict)
    written: bool = True
    cancelled: bool = False
    end: SessionRecord | None = None

    @property
    def failed(self) -> int:
        """Tasks that failed for good."""
        return sum(result is None for result in self.outcomes.values())

    @property
    def all_ended(self) -> bool:
        """Whether every task has an outcome."""
        return len(self.outcomes) == len(self.events)

    @property
    def too_many_failed(self) -> bool:
        """Whether the threshold is passed."""
        tolerated = self.options["max_failures"]
        return tolerated is not None and self.failed > tolerated

    def may_be(self, state: SessionState) -> bool:
        """Whether a session with this story may be in that state."""
        match state:
            case SessionState.SUBMITTED:
                return not self.written and not self.cancelled
            case SessionState.RUNNING:
                return self.written and not self.cancelled and not self.all_ended and not self.too_many_failed
            case SessionState.CANCELLING:
                return self.cancelled
            case SessionState.CANCELLED:
                return self.cancelled or not self.written
            case SessionState.COMPLETED:
                good = self.options["max_failures"] is not None or not self.failed
                return self.written and self.all_ended and good and not self.too_many_failed
            case SessionState.FAILED:
                all_ended_badly = self.all_ended and self.failed > 0 and self.options["max_failures"] is None
                in_time = self.options["timeout_seconds"] is None
                return self.written and (self.too_many_failed or all_ended_badly or not in_time)

    def check(self, record: SessionRecord) -> None:
        """Compare with the session's row (S2, S3, S11)."""
        counters = record.counters
        assert self.may_be(record.state), f"{self} is {record.state}"
        assert counters.completed == len(self.outcomes) - self.failed
        assert counters.failed == self.failed
        if self.written:
            assert counters.total == len(self.events)
        if self.end is not None:
            assert record == self.end, "terminal is for ever"
        elif SESSION.is_terminal(record.state):
            assert counters.cancelled == counters.total - len(self.outcomes)
            assert counters.pending == 0
            self.end = record
        else:
            assert counters.cancelled == 0
