"""What a scaler goes by, as metrics of CloudWatch in the embedded metric format."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from htcgrid_core.adapters.embedded_metrics import UNITS, line
from htcgrid_core.cloud.lambda_function import served_grid
from htcgrid_core.cloud.logs import configure
from htcgrid_core.cloud.plane import CloudPlane, open_cloud
from htcgrid_core.domain import metrics
from htcgrid_core.domain.demand import PRIORITIES, Demand
from htcgrid_core.services.measure import measure

# What is counted of each pool and priority. The sums over a pool are what its size goes by.
METRICS = (metrics.SLOTS_WANTED, metrics.WORK_SECONDS, metrics.TASKS_PENDING, metrics.SESSIONS_LIVE)
NAMES = tuple(metric.cloudwatch_name for metric in METRICS)
TOLD_IN = {metric.cloudwatch_name: UNITS[metric.unit] for metric in METRICS}


@lru_cache(maxsize=1)
def _opened() -> tuple[CloudPlane, str]:
    configure(style="json")
    address = served_grid()
    return open_cloud(address), address.name


def handler(event: Mapping[str, Any] | None, context: object) -> dict[str, Any]:
    """Write a line for each pool and priority, and one for each pool; answer with the slots that each pool wants."""
    cloud, name = _opened()
    demand = measure(cloud.plane).demand
    pools = sorted({*cloud.parameter.queues, *(one.pool for one in demand)})
    now_ms = int(cloud.plane.clock.now() * 1000)
    wanted = {}
    for pool in pools:
        mine = [one for one in demand if one.pool == pool]
        for priority in PRIORITIES:
            values = _values(one for one in mine if one.priority == priority)
            _write(now_ms, {"Grid": name, "Pool": pool, "Priority": priority}, values)
        values = _values(mine)
        _write(now_ms, {"Grid": name, "Pool": pool}, values)
        wanted[pool] = int(values["SlotsWanted"])
    return {"slots_wanted": wanted}


def _values(demand: Iterable[Demand]) -> dict[str, float]:
    """Sums; zeros where nothing lives, so that what scales to nothing is told so."""
    found = list(demand)
    sums = (
        sum(one.slots_wanted for one in found),
        sum(one.work_seconds for one in found),
        sum(one.tasks for one in found),
        sum(one.sessions for one in found),
    )
    return dict(zip(NAMES, sums, strict=True))


def _write(now_ms: int, dimensions: dict[str, str], values: dict[str, float]) -> None:
    """One line of the embedded metric format, which CloudWatch makes metrics of."""
    sys.stdout.write(line(now_ms, dimensions, values, TOLD_IN) + "\n")
    sys.stdout.flush()
