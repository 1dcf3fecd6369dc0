"""Measure: how much waits and how much can be done; what a scaler or a person looks at."""

from __future__ import annotations

from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.ports.plane import Plane


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
