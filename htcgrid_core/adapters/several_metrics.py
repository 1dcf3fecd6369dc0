"""Metrics told to several: Prometheus's page and CloudWatch's lines of the same process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from htcgrid_core.domain.metrics import Metric
from htcgrid_core.ports.metrics import NO_METRICS, Example, Metrics


class SeveralMetrics:
    """What is told to it, each of them is told."""

    def __init__(self, each: Sequence[Metrics]) -> None:
        self._each = each

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        """See ``Metrics``."""
        for metrics in self._each:
            metrics.add(metric, amount, **labels)

    def observe(
        self, metric: Metric, values: Iterable[float], *, example: Example | None = None, **labels: str
    ) -> None:
        """See ``Metrics``."""
        found = tuple(values)
        for metrics in self._each:
            metrics.observe(metric, found, example=example, **labels)

    def show(self, metric: Metric, value: float, seconds: float, **labels: str) -> None:
        """See ``Metrics``."""
        for metrics in self._each:
            metrics.show(metric, value, seconds, **labels)

    def read(self, metric: Metric, value: Callable[[], float | None], **labels: str) -> None:
        """See ``Metrics``."""
        for metrics in self._each:
            metrics.read(metric, value, **labels)


def told_to(each: Sequence[Metrics]) -> Metrics:
    """All of them, as one; nobody if there is none."""
    if not each:
        return NO_METRICS
    return each[0] if len(each) == 1 else SeveralMetrics(each)
