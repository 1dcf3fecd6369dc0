"""The catalogue of metrics as tables."""

from __future__ import annotations

import inspect
import math

from htcgrid_core.domain import metrics
from htcgrid_core.domain.metrics import Metric

_HEAD = ["| metric | kind | unit | of | labels | what |", "|---|---|---|---|---|---|"]


def tables() -> str:
    """Every metric under the heading that it has in the catalogue."""
    of_name = {name: value for name, value in vars(metrics).items() if isinstance(value, Metric)}
    lines: list[str] = []
    for line in inspect.getsource(metrics).splitlines():
        if line.startswith("# "):
            lines += ["", f"**{line.removeprefix('# ')}**", "", *_HEAD]
        elif (name := line.split(":")[0]) in of_name:
            lines.append(_row(of_name[name]))
    return "\n".join(lines).strip()


def _row(metric: Metric) -> str:
    labels = "; ".join(f"`{name}`: {_values(values)}" for name, values in metric.labels.items())
    return f"| `{metric.name}` | {metric.kind} | {metric.unit} | {metric.of} | {labels} | {metric.help}. |"


def billed() -> str:
    """How many metrics CloudWatch is told of a grid with one pool, where all of them have values."""

    def series(metric: Metric) -> int:
        kept = (values for name, values in metric.labels.items() if metric.billed is None or name in metric.billed)
        return math.prod(max(1, len(values)) for values in kept)

    return f"{sum(map(series, metrics.CATALOGUE))} metrics at most."


def _values(values: tuple[str, ...]) -> str:
    if values is metrics.ANY:
        return "as the grid names them"
    return f"{len(values)} names, as AWS has them" if values == metrics.AWS_OPERATIONS else ", ".join(values)
