"""What dashboards show: panels, each with its queries, made of the catalogue of metrics."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from htcgrid_core.domain import metrics
from htcgrid_core.domain.metrics import Metric

OF_GRID = 'grid=~"$grid", region=~"$region"'  # what is chosen at the top of a dashboard
OF_POOL = f'{OF_GRID}, pool=~"$pool"'
RANGE = "$__rate_interval"

Unit = Literal["short", "s", "percentunit", "ops", "dtdurations", "currencyUSD", "bytes"]
UNITS: dict[str, Unit] = {"seconds": "s", "dollars": "currencyUSD", "bytes": "bytes", "count": "short"}


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what a line of it is called."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture."""

    title: str
    unit: Unit
    queries: tuple[Query, ...]
    help: str = ""
    kind: Literal["timeseries", "stat"] = "timeseries"
    is_stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page.

    Attributes:
        name: of its file, and the end of its uid.
    """

    name: str
    title: str
    rows: tuple[Row, ...]


def selected(metric: Metric, more: str = "", suffix: str = "") -> str:
    """The series of a metric that are chosen."""
    whose = OF_GRID if metric.of == "grid" and "pool" not in metric.labels else OF_POOL
    return f"{metric.name}{suffix}{{{', '.join(filter(None, (whose, more)))}}}"


def rate(metric: Metric, by: str = "", more: str = "", suffix: str = "") -> str:
    """How fast it goes up, a second."""
    return f"sum by ({by}) (rate({selected(metric, more, suffix)}[{RANGE}]))"


def quantile(metric: Metric, share: float) -> str:
    """What so many of the values are below."""
    return f"histogram_quantile({share}, {rate(metric, 'le', suffix='_bucket')})"


def shown(metric: Metric, by: str, more: str = "") -> str:
    """A gauge: added up over agents, or as any of those who look at the whole grid sees it."""
    if metric.of == "agent":
        return f"sum by ({by}) ({selected(metric, more)})"
    # Each agent shows what it saw last, for as long as it is fresh: of a series the highest is taken.
    labels = ", ".join(dict.fromkeys(("grid", "region", *metric.labels, *(("pool",) if metric.of == "pool" else ()))))
    return f"sum by ({by}) (max by ({labels}) (max_over_time({selected(metric, more)}[2m])))"


def catalogue() -> Dashboard:
    """Every metric, under the headings that it has in the catalogue."""
    return Dashboard("metrics", "HTC-Grid: every metric", tuple(_rows()))


def _rows() -> Iterator[Row]:
    of_name = {name: value for name, value in vars(metrics).items() if isinstance(value, Metric)}
    title, panels = "", list[Panel]()
    for line in inspect.getsource(metrics).splitlines():
        if line.startswith("# "):
            if panels:
                yield Row(title, tuple(panels))
            title, panels = line.removeprefix("# "), []
        elif (name := line.split(":")[0]) in of_name:
            panels.append(_of_metric(of_name[name]))
    yield Row(title, tuple(panels))


def _of_metric(metric: Metric) -> Panel:
    by, legend = ", ".join(metric.labels), " ".join(f"{{{{{label}}}}}" for label in metric.labels) or "all"
    match metric.kind:
        case "histogram":
            queries = tuple(Query(quantile(metric, share), f"{share:.0%}") for share in (0.5, 0.9, 0.99))
            return Panel(metric.name, "s", queries, metric.help)
        case "counter":
            rates: Unit = "currencyUSD" if metric.unit == "dollars" else "ops"
            return Panel(metric.name, rates, (Query(rate(metric, by), legend),), f"{metric.help}; a second")
        case _:
            unit = UNITS[metric.unit]
            return Panel(metric.name, unit, (Query(shown(metric, by), legend),), metric.help)
