"""Metrics as Prometheus reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from htcgrid_core.domain.metrics import ANY, CATALOGUE, OTHER, Metric

Labels = tuple[str, ...]  # values, in the order of the catalogue


class PrometheusMetrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._gauges = _Gauges()
        for metric in CATALOGUE:
            names = tuple(metric.labels)
            if metric.kind == "counter":
                self._counters[metric.name] = Counter(metric.name, metric.help, names, registry=self._registry)
            elif metric.kind == "histogram":
                self._histograms[metric.name] = Histogram(
                    metric.name, metric.help, names, registry=self._registry, buckets=metric.buckets
                )
        self._registry.register(self._gauges)
        ProcessCollector(registry=self._registry)

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        counter = self._counters[metric.name]
        (counter.labels(*_values(metric, labels)) if metric.labels else counter).inc(amount)

    def observe(self, metric: Metric, values: Iterable[float], **labels: str) -> None:
        """Sort values into a histogram."""
        histogram = self._histograms[metric.name]
        observe = (histogram.labels(*_values(metric, labels)) if metric.labels else histogram).observe
        for value in values:
            observe(value)

    def show(self, metric: Metric, value: float, seconds: float, **labels: str) -> None:
        """Set a gauge, which vanishes after ``seconds``."""
        until = time.monotonic() + seconds
        self._gauges.put(metric, _values(metric, labels), lambda: value if time.monotonic() < until else None)

    def read(self, metric: Metric, value: Callable[[], float], **labels: str) -> None:
        """Have a gauge looked at whenever somebody asks."""
        self._gauges.put(metric, _values(metric, labels), value)

    def page(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """Gauges are asked for their values when Prometheus asks for them."""

    def __init__(self) -> None:
        self._gauges: dict[str, dict[Labels, Callable[[], float | None]]] = {}

    def put(self, metric: Metric, labels: Labels, value: Callable[[], float | None]) -> None:
        """Replace one time series."""
        self._gauges.setdefault(metric.name, {})[labels] = value

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What Prometheus's registry calls."""
        for metric in CATALOGUE:
            family = GaugeMetricFamily(metric.name, metric.help, labels=tuple(metric.labels))
            for labels, value in list(self._gauges.get(metric.name, {}).items()):
                now = value()
                if now is not None:
                    family.add_metric(labels, now)
            if family.samples:
                yield family


def _values(metric: Metric, labels: dict[str, str]) -> Labels:
    """Labels in order; a value that the catalogue does not know is ``other``, or the series would be without number."""
    return tuple(
        labels[name] if known is ANY or labels[name] in known else OTHER for name, known in metric.labels.items()
    )
