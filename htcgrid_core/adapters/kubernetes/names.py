"""By what the chart's objects are found, and what an agent writes on its pod."""

from __future__ import annotations

GRID_LABEL = "htcgrid/grid"
POOL_LABEL = "htcgrid/pool"
CONTAINER = "agent"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def of_grid(grid: str, pool: str | None = None) -> str:
    """The label selector of a grid's objects, or of one of its pools'."""
    found = f"app.kubernetes.io/name=htcgrid-agent,{GRID_LABEL}={grid}"
    return found if pool is None else f"{found},{POOL_LABEL}={pool}"
