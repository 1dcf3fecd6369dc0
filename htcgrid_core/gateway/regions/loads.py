"""What several regions' grids are together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from htcgrid_core.domain.demand import Demand
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.gateway.description import GridDescription


def together(loads: Collection[Measurement]) -> Measurement:
    """Their loads, added."""
    sessions = Counter[str]()
    for load in loads:
        sessions.update(load.sessions)
    return Measurement(
        sessions={state: sessions[state] for state in SessionState if sessions[state]},
        pending=sum(load.pending for load in loads),
        agents=sum(load.agents for load in loads),
        slots=sum(load.slots for load in loads),
        busy=sum(load.busy for load in loads),
        demand=_demand(demand for load in loads for demand in load.demand),
    )


def _demand(demands: Iterable[Demand]) -> tuple[Demand, ...]:
    found: dict[tuple[str, str], Demand] = {}
    for one in demands:
        key = one.pool, one.priority
        known = found.get(key)
        found[key] = one if known is None else Demand(
            pool=one.pool,
            priority=one.priority,
            sessions=known.sessions + one.sessions,
            tasks=known.tasks + one.tasks,
            work_seconds=known.work_seconds + one.work_seconds,
            slots_wanted=known.slots_wanted + one.slots_wanted,
        )  # fmt: skip
    return tuple(found.values())


def description(url: str, grids: Collection[GridDescription]) -> GridDescription:
    """What is to be known before a submit: of all pools that some region has, and of the largest fleet."""
    return GridDescription(
        url=url,
        pools=tuple(dict.fromkeys(pool for grid in grids for pool in grid.pools)),
        agents=max(grid.agents for grid in grids),
        same_machine=all(grid.same_machine for grid in grids),
        allows_pickle=all(grid.allows_pickle for grid in grids),
    )
