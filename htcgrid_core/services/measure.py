"""Measure: how much waits and how much can be done; what a scaler or a person looks at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from htcgrid_core.domain.demand import demand_of
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import AgentRecord


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
        demand=tuple(demand_of(live, busy_slots(agents))),
    )


def busy_slots(agents: Iterable[AgentRecord]) -> dict[str, int]:
    """Busy slots of each pool that has agents, as of their last heartbeats."""
    busy = Counter[str]()
    for agent in agents:
        busy[agent.pool] += agent.busy
    return dict(busy)
