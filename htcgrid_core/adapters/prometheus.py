"""Metrics as Prometheus reads them."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from htcgrid_core.domain.metrics import ANY, CATALOGUE, OTHER, Metric
from htcgrid_core.ports.metrics import Example

Labels = tuple[str, ...]  # values, in the order of their names

FEW_SERIES = 20  # of a counter, up to which all are there from the beginning: a rate needs a 0 before the first 1
EXAMPLE_CHARACTERS = 128  # of an exemplar's names and values, as OpenMetrics says


class PrometheusMetrics:
    """The metrics of one process. Whose they are stands on every series, so that no scraper needs to add it.

    Args:
        grid: its name, a label of every series.
        pool: that an agent serves; a label of what is the agent's.
        region: of AWS, a label of every series, since there may be grids of the same name; empty for none.
    """

    def __init__(self, grid: str, pool: str, region: str = "") -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each
        self._grid = {"grid": grid, **({"region": region} if region else {})}
        self._agent = {**self._grid, "pool": pool}
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._gauges = _Gauges()
        for metric in CATALOGUE:
            names = self._names(metric)
            if metric.kind == "counter":
                self._counters[metric.name] = Counter(metric.name, metric.help, names, registry=self._registry)
                self._begin(metric)
            elif metric.kind == "histogram":
                self._histograms[metric.name] = Histogram(
                    metric.name, metric.help, names, registry=self._registry, buckets=metric.buckets
                )
                if not metric.labels:
                    self.observe(metric, ())
        self._registry.register(self._gauges)
        ProcessCollector(registry=self._registry)

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        self._counters[metric.name].labels(*self._values(metric, labels)).inc(amount)

    def observe(
        self, metric: Metric, values: Iterable[float], *, example: Example | None = None, **labels: str
    ) -> None:
        """Sort values into a histogram; the example is an exemplar of its bucket."""
        histogram = self._histograms[metric.name].labels(*self._values(metric, labels))
        for value in values:
            if example is not None and value == example.value:
                histogram.observe(value, _exemplar(example))
                example = None
            else:
                histogram.observe(value)

    def show(self, metric: Metric, value: float, seconds: float, **labels: str) -> None:
        """Set a gauge, which vanishes after ``seconds``."""
        until = time.monotonic() + seconds
        self._put(metric, labels, lambda: value if time.monotonic() < until else None)

    def read(self, metric: Metric, value: Callable[[], float | None], **labels: str) -> None:
        """Have a gauge looked at whenever somebody asks."""
        self._put(metric, labels, value)

    def page(self, accept: str = "") -> tuple[str, bytes]:
        """All of them, with their content type: in Prometheus's text format, or as OpenMetrics, which has exemplars.

        Args:
            accept: the header of whoever asks.
        """
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def _put(self, metric: Metric, labels: dict[str, str], value: Callable[[], float | None]) -> None:
        self._gauges.put(metric, self._names(metric), self._values(metric, labels), value)

    def _whose(self, metric: Metric) -> dict[str, str]:
        return self._grid if metric.of == "grid" or "pool" in metric.labels else self._agent

    def _names(self, metric: Metric) -> Labels:
        return (*metric.labels, *self._whose(metric))

    def _begin(self, metric: Metric) -> None:
        """All series of a counter, at 0, if they are few."""
        known = [values for values in metric.labels.values() if values is not ANY]
        if len(known) == len(metric.labels) and math.prod(map(len, known)) <= FEW_SERIES:
            for values in itertools.product(*known):
                self.add(metric, 0.0, **dict(zip(metric.labels, values, strict=True)))

    def _values(self, metric: Metric, labels: dict[str, str]) -> Labels:
        """In order; a value that the catalogue does not know is ``other``, or the series would be without number."""
        own = (
            labels[name] if known is ANY or labels[name] in known else OTHER for name, known in metric.labels.items()
        )
        return (*own, *self._whose(metric).values())


class _Gauges(Collector):
    """Gauges are asked for their values when Prometheus asks for them."""

    def __init__(self) -> None:
        self._names: dict[str, Labels] = {}
        self._gauges: dict[str, dict[Labels, Callable[[], float | None]]] = {}

    def put(self, metric: Metric, names: Labels, values: Labels, value: Callable[[], float | None]) -> None:
        """Replace one time series."""
        self._names[metric.name] = names
        self._gauges.setdefault(metric.name, {})[values] = value

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What Prometheus's registry calls."""
        for metric in CATALOGUE:
            family = GaugeMetricFamily(metric.name, metric.help, labels=self._names.get(metric.name, ()))
            for values, value in list(self._gauges.get(metric.name, {}).items()):
                now = value()
                if now is not None:
                    family.add_metric(values, now)
            if family.samples:
                yield family


def _exemplar(example: Example) -> dict[str, str]:
    """As much of it as there is room for; the trace leads to the rest."""
    kept: dict[str, str] = {}
    for name, value in sorted(example.of.items(), key=lambda pair: pair[0] != "trace_id"):
        if sum(len(text) for pair in (*kept.items(), (name, value)) for text in pair) <= EXAMPLE_CHARACTERS:
            kept[name] = value
    return kept
