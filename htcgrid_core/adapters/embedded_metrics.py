"""Metrics as lines of a log that CloudWatch makes metrics of: its embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import math
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TextIO

from htcgrid_core.domain.metrics import ANY, OTHER, Metric
from htcgrid_core.ports.metrics import Example

NAMESPACE = "HTCGrid"
UNITS = {"seconds": "Seconds", "dollars": "None", "bytes": "Bytes", "count": "Count"}
WRITE_SECONDS = 60.0  # CloudWatch keeps a value a minute
METRICS_A_LINE = 100  # at most, as the format says; a histogram has fewer buckets than the values that it takes

Value = float | dict[str, list[float]]
Dimensions = tuple[tuple[str, str], ...]
Series = tuple[str, Dimensions]


class EmbeddedMetrics:
    """The metrics of one process, since the last lines were written.

    Counters tell what was added, gauges what they are, and histograms how often each bucket's upper bound was reached:
    CloudWatch adds up, and tells percentiles.

    Args:
        grid, pool: dimensions of every metric, or of those that are one agent's.
        stream: where lines go.
        wall: the time, in seconds since the epoch.
    """

    def __init__(self, grid: str, pool: str, stream: TextIO, wall: Callable[[], float] = time.time) -> None:
        self._whose = {"grid": grid, "pool": pool}
        self._stream = stream
        self._wall = wall
        self._lock = threading.Lock()
        self._sums: dict[Series, float] = {}
        self._buckets: dict[Series, Counter[float]] = defaultdict(Counter)
        self._gauges: dict[Series, Callable[[], float | None]] = {}
        self._units: dict[str, str] = {}

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        series = self._series(metric, labels)
        with self._lock:
            self._sums[series] = self._sums.get(series, 0.0) + amount

    def observe(
        self, metric: Metric, values: Iterable[float], *, example: Example | None = None, **labels: str
    ) -> None:
        """Sort values into a histogram; what lies over its last bound is told as it is."""
        series, bounds = self._series(metric, labels), metric.buckets
        with self._lock:
            for value in values:
                at = bisect_left(bounds, value)
                self._buckets[series][bounds[at] if at < len(bounds) else math.ceil(value)] += 1

    def show(self, metric: Metric, value: float, seconds: float, **labels: str) -> None:
        """Set a gauge, which vanishes after ``seconds``."""
        until = self._wall() + seconds
        self._put(metric, labels, lambda: value if self._wall() < until else None)

    def read(self, metric: Metric, value: Callable[[], float | None], **labels: str) -> None:
        """Have a gauge looked at whenever lines are written."""
        self._put(metric, labels, value)

    def write(self) -> None:
        """Write what there is, a line for each set of dimensions, and begin anew."""
        with self._lock:
            sums, buckets, gauges = self._sums, self._buckets, dict(self._gauges)
            self._sums, self._buckets = {}, defaultdict(Counter)
        of: dict[Dimensions, dict[str, Value]] = defaultdict(dict)
        for (name, dimensions), total in sums.items():
            of[dimensions][name] = total
        for (name, dimensions), counts in buckets.items():
            of[dimensions][name] = {"Values": list(counts), "Counts": [float(count) for count in counts.values()]}
        for (name, dimensions), value in gauges.items():
            if (now := value()) is not None:
                of[dimensions][name] = now
        now_ms = int(self._wall() * 1000)
        for dimensions, values in sorted(of.items()):
            for some in _batches(values):
                self._stream.write(line(now_ms, dict(dimensions), some, self._units) + "\n")
        self._stream.flush()

    def _put(self, metric: Metric, labels: Mapping[str, str], value: Callable[[], float | None]) -> None:
        series = self._series(metric, labels)
        with self._lock:
            self._gauges[series] = value

    def _series(self, metric: Metric, labels: Mapping[str, str]) -> Series:
        name = metric.cloudwatch_name
        self._units[name] = UNITS[metric.unit]
        return name, dimensions_of(metric, labels, **self._whose)


def dimensions_of(metric: Metric, labels: Mapping[str, str], grid: str, pool: str) -> Dimensions:
    """Whose a value is, and those of its labels that CloudWatch is told."""
    told = {"Grid": grid} if metric.of == "grid" else {"Grid": grid, "Pool": pool}
    for label, known in metric.labels.items():
        if metric.billed is None or label in metric.billed:
            value = labels[label]
            told[label.capitalize()] = value if known is ANY or value in known else OTHER
    return tuple(told.items())


def line(now_ms: int, dimensions: Mapping[str, str], values: Mapping[str, Value], units: Mapping[str, str]) -> str:
    """One line of the format: up to a hundred metrics that have the same dimensions."""
    metrics = [{"Name": name, "Unit": units[name]} for name in values]
    told = {"Namespace": NAMESPACE, "Dimensions": [list(dimensions)], "Metrics": metrics}
    return json.dumps({"_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [told]}, **dimensions, **values})


def _batches(values: Mapping[str, Value]) -> Iterator[Mapping[str, Value]]:
    names = sorted(values)
    for at in range(0, len(names), METRICS_A_LINE):
        yield {name: values[name] for name in names[at : at + METRICS_A_LINE]}
