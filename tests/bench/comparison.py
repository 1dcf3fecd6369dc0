"""A comparison: one number of the grid against a peer's or against a limit, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tests.bench.case import Case, Outcome

Verdict = Literal["pass", "miss", "info", "not measured"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a number comes from: a metric of a case, and its best round when it has several."""

    case: Case
    metric: str
    best: str | None = None
    label: str | None = None

    @property
    def name(self) -> str:
        """What the table calls it."""
        return self.label or self.case.subject


@dataclass(frozen=True, slots=True)
class Target:
    """What the grid aims at: a bound on the ratio to the peer, or on the number when there is no peer."""

    direction: Literal["at least", "at most"]
    bound: float

    def met_by(self, value: float) -> bool:
        """Whether the value is on the right side."""
        return value >= self.bound if self.direction == "at least" else value <= self.bound


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the table."""

    what: str
    grid: Source
    peer: Source | None = None
    target: Target | None = None

    def concerns(self, outcomes: Mapping[Case, Outcome]) -> bool:
        """Whether one of its two sides was run."""
        return self.grid.case in outcomes or (self.peer is not None and self.peer.case in outcomes)

    def judge(self, outcomes: Mapping[Case, Outcome]) -> Judged:
        """Look the numbers up and compare them."""
        mine = number(outcomes, self.grid, self.grid.metric)
        theirs = number(outcomes, self.peer, self.peer.metric) if self.peer else None
        ratio = mine / theirs if mine is not None and theirs else None
        return Judged(self, mine, theirs, ratio, self._verdict(ratio if self.peer else mine))

    def _verdict(self, value: float | None) -> Verdict:
        if value is None:
            return "not measured"
        if self.target is None:
            return "info"
        return "pass" if self.target.met_by(value) else "miss"


@dataclass(frozen=True, slots=True)
class Judged:
    """A comparison with its numbers; what was not measured is None."""

    comparison: Comparison
    mine: float | None
    theirs: float | None
    ratio: float | None
    verdict: Verdict


def number(outcomes: Mapping[Case, Outcome], source: Source, metric: str | None) -> float | None:
    """One metric of one case, if it was measured."""
    outcome = outcomes.get(source.case)
    return outcome.metrics.get(metric) if outcome and metric else None
