"""Traces: spans of what was done for sessions, told when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain.bundle import Bundle
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.session import SessionRecord, SessionSpec


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One of the first failed attempts of a bundle's tasks. What the error says is not told: it may be a secret.

    Attributes:
        started: wall clock, s.
        seconds: how long it ran.
        error: the error's type.
    """

    index: int
    attempt: int
    started: float
    seconds: float
    error: str
    is_retried: bool


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """When what happened under one lease of a bundle, by the agent's wall clock, in seconds.

    Attributes:
        ready_at: since when it waited for an agent; None if nobody knows, or for a continuation, which did not wait.
        claimed_at: when the agent began to claim it; for a continuation, when it began.
        leased_at: when it had all that it needs.
    """

    claimed_at: float
    leased_at: float
    ready_at: float | None = None

    @property
    def waited_seconds(self) -> float | None:
        """For how long it waited, as far as clocks agree."""
        return None if self.ready_at is None else max(0.0, self.claimed_at - self.ready_at)


@dataclass(frozen=True, slots=True)
class Leased:
    """What an agent did with a bundle under one lease.

    Attributes:
        attempts: the first ones that failed.
        retried: how many failed and run again.
        traced_every: each how manieth task has a span of its own, as its worker was told; 0 for none.
        commit_at, ended_at: when it began and had committed it, or let go of it: wall clock, s.
        lost: why it was not committed; empty if it was.
    """

    bundle: Bundle
    lease: Lease
    spec: SessionSpec
    times: LeaseTimes
    outcomes: Outcomes
    attempts: Sequence[FailedAttempt]
    retried: int
    traced_every: int
    commit_at: float
    ended_at: float
    lost: str = ""


class Traces(Protocol):
    """Takes what is over; may be called from many threads, never waits and never fails."""

    def traced_every(self, session: SessionRecord, spec: SessionSpec) -> int | None:
        """Each how manieth task of a session has a span of its own; 0 for none, None where nobody traces."""

    def leased(self, done: Leased) -> None:
        """A bundle was committed, or lost."""

    def ended(self, record: SessionRecord) -> None:
        """A session has ended."""

    def flush(self) -> None:
        """Send what there is, within some seconds."""


class NoTraces:
    """Nobody traces."""

    def traced_every(self, session: SessionRecord, spec: SessionSpec) -> int | None:
        """None."""
        return None

    def leased(self, done: Leased) -> None:
        """Nothing."""

    def ended(self, record: SessionRecord) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""


NO_TRACES = NoTraces()
