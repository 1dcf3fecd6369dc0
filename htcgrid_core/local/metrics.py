"""Metrics of an agent as Prometheus reads them, for those who ask: the library takes a tenth of a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from htcgrid_core.adapters.prometheus import PrometheusMetrics


def prometheus(grid: str, pool: str, region: str = "") -> PrometheusMetrics:
    """Of one agent of a pool.

    Raises:
        ImportError: the library is not installed.
    """
    from htcgrid_core.adapters.prometheus import PrometheusMetrics

    return PrometheusMetrics(grid, pool, region)
