"""The load of a grid."""

from __future__ import annotations

from dataclasses import dataclass

from htcgrid_core.domain.demand import Demand


@dataclass(frozen=True, slots=True)
class Measurement:
    """The load of a grid.

    Attributes:
        sessions: live sessions by state.
        pending: tasks of live sessions that have not ended.
        agents, slots, busy: agents alive, the tasks they can run at once, and those they do run.
        demand: what is wanted of each pool, by priority; what a scaler looks at.
    """

    sessions: dict[str, int]
    pending: int
    agents: int
    slots: int
    busy: int
    demand: tuple[Demand, ...] = ()

    def slots_wanted(self, pool: str) -> int:
        """Slots that all sessions of a pool together could use."""
        return sum(demand.slots_wanted for demand in self.demand if demand.pool == pool)
