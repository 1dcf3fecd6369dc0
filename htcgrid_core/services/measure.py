"""Measure: how much waits and how much can be done; what a scaler or a person looks at."""

from __future__ import annotations

from dataclasses import dataclass

from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.ports.plane import Plane


@dataclass(frozen=True, slots=True)
class Measurement:
    """The load of a grid.

    Attributes:
        sessions: live sessions by state.
        pending: tasks of live sessions that have not ended.
        agents, slots, busy: agents alive, the tasks they can run at once, and those they do run.
    """

    sessions: dict[str, int]
    pending: int
    agents: int
    slots: int
    busy: int


def measure(plane: Plane) -> Measurement:
    """Load now: O(live sessions), however many tasks they have."""
    live = plane.store.live_sessions()
    agents = plane.store.agents(plane.clock.now())
    return Measurement(
        sessions={state: n for state in SessionState if (n := sum(r.state is state for r in live))},
        pending=sum(record.counters.pending for record in live),
        agents=len(agents),
        slots=sum(agent.slots for agent in agents),
        busy=sum(agent.busy for agent in agents),
    )
