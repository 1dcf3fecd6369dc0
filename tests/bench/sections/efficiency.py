"""Many agents in virtual time: the makespan of one session against an ideal queue of its tasks without any overhead.

Real agents, services and store, with a store that takes as long as one within a cloud region; only time is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.case import Metrics, Note
from tests.bench.engines.base import UnavailableError
from tests.bench.sizes import Sizes


@dataclass(frozen=True, slots=True)
class Fleet:
    """Agents, the slots of each, and how many tasks of a second each slot gets on average."""

    agents: int
    slots: int
    rounds: int

    def __str__(self) -> str:
        """Say it for people."""
        return f"{self.agents:,} agents x {self.slots} slots, {self.rounds} s"


FLEETS = {
    "10-agents": Fleet(10, 8, 60),
    "100-agents": Fleet(100, 8, 60),
    "1000-agents": Fleet(1_000, 2, 30),  # fewer tasks, so that it takes about a minute
}
SUBJECTS = tuple(FLEETS)


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """The ratio to the ideal for each kind of duration."""
    try:
        from htcgrid_core.testing.simulator.efficiency import DURATIONS, measure
    except ImportError as error:
        raise UnavailableError(f"{error}: see requirements/bench.txt") from error
    fleet = FLEETS[subject]
    rounds = min(fleet.rounds, sizes.efficiency_rounds)
    metrics: Metrics = {}
    for kind in DURATIONS:
        note(kind)
        metrics[kind] = measure(fleet.agents, fleet.slots, rounds, kind).ratio
    return metrics
