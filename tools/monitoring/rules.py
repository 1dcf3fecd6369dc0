"""The alert rules as Prometheus reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from tools.monitoring.alerts import ALERTS, Alert


def text(alerts: Iterable[Alert] = ALERTS) -> str:
    """A file of rules: for Prometheus, for Managed Prometheus and for promtool."""
    lines = [
        "# Made by `make docs` of tools/monitoring/alerts.py.",
        "groups:",
        "  - name: htcgrid",
        "    rules:",
        *(line for alert in alerts for line in _rule(alert)),
    ]
    return "\n".join(lines) + "\n"


def _rule(alert: Alert) -> Iterator[str]:
    # What JSON quotes, YAML reads alike.
    yield f"      - alert: {alert.name}"
    yield f"        expr: {json.dumps(alert.expression)}"
    yield f"        for: {alert.minutes}m"
    yield "        labels:"
    yield f"          severity: {alert.severity}"
    yield "        annotations:"
    yield f"          summary: {json.dumps(alert.summary)}"
    yield f"          runbook: docs/runbook.md#{alert.name}"


def table() -> str:
    """For the documents: each rule, and when it tells."""
    lines = ["| alert | tells when, for how long | severity |", "|---|---|---|"]
    for alert in ALERTS:
        summary = alert.summary.replace("{{ $labels.pool }}", "a pool").replace(": {{ $labels.operation }}", "")
        for_long = f", for {alert.minutes} min" if alert.minutes else ""
        lines.append(f"| [{alert.name}](runbook.md#{alert.name}) | {summary}{for_long} | {alert.severity} |")
    return "\n".join(lines)
