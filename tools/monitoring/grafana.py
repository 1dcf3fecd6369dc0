"""Dashboards as Grafana loads them, by its JSON model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tools.monitoring.panels import Dashboard, Panel

SCHEMA_VERSION = 39  # of Grafana 11
COLUMNS, A_ROW = 24, 4
HEIGHTS = {"timeseries": 8, "stat": 4}
SOURCE = {"type": "prometheus", "uid": "${source}"}


def text(dashboard: Dashboard) -> str:
    """The file of a dashboard."""
    return json.dumps(model(dashboard), indent=1) + "\n"


def model(dashboard: Dashboard) -> dict[str, Any]:
    """What it is to Grafana."""
    return {
        "uid": f"htcgrid-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["htcgrid"],
        "timezone": "browser",
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_source(), *(_variable(name) for name in ("grid", "region", "pool"))]},
        "panels": list(_panels(dashboard)),
    }


def _source() -> dict[str, Any]:
    return {"type": "datasource", "name": "source", "label": "Prometheus", "query": "prometheus", "hide": 0}


def _variable(name: str) -> dict[str, Any]:
    return {
        "type": "query",
        "name": name,
        "datasource": SOURCE,
        "query": f"label_values(htcgrid_slots, {name})",
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "hide": 0,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for row in dashboard.rows:
        number += 1
        yield {"type": "row", "id": number, "title": row.title, "collapsed": False, "gridPos": _at(0, y, COLUMNS, 1)}
        y += 1
        for begin in range(0, len(row.panels), A_ROW):
            some = row.panels[begin : begin + A_ROW]
            width, height = COLUMNS // min(A_ROW, max(2, len(some))), max(HEIGHTS[panel.kind] for panel in some)
            for column, panel in enumerate(some):
                number += 1
                yield {**_panel(panel), "id": number, "gridPos": _at(column * width, y, width, height)}
            y += height


def _at(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": query.expression, "legendFormat": query.legend}
        for at, query in enumerate(panel.queries)
    ]
    stacked = {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}} if panel.is_stacked else {}
    line = {"custom": {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never", **stacked}}
    return {
        "type": panel.kind,
        "title": panel.title,
        **({"description": panel.help} if panel.help else {}),
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, **(line if panel.kind == "timeseries" else {})},
            "overrides": [],
        },
        **({"options": {"legend": _LEGEND, "tooltip": _TOOLTIP}} if panel.kind == "timeseries" else {}),
    }


_LEGEND = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
_TOOLTIP = {"mode": "multi", "sort": "desc"}
