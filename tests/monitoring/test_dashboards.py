"""Dashboards: fresh, of Grafana's types, without overlaps, and each query one that Prometheus takes."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard

from htcgrid_core.domain.metrics import CATALOGUE
from tests.monitoring.test_alerts import needs_promtool, promtool
from tools.monitoring.dashboards import DASHBOARDS
from tools.monitoring.files import generated
from tools.monitoring.grafana import model
from tools.monitoring.panels import Dashboard

EACH = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)


def test_what_is_generated_is_fresh() -> None:
    """`make docs` writes it."""
    assert [str(path) for path, text in generated().items() if path.read_text() != text] == []


def test_each_has_an_address_of_its_own() -> None:
    uids = [model(dashboard)["uid"] for dashboard in DASHBOARDS]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"[a-z-]{1,40}", uid) for uid in uids)


@EACH
def test_panels_have_ids_and_places_of_their_own(dashboard: Dashboard) -> None:
    panels = model(dashboard)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@EACH
def test_grafanas_own_types_know_all_that_stands_there(dashboard: Dashboard) -> None:
    """What they do not know they leave out when they write it again."""
    register_default_plugins()
    told = json.loads(json.dumps(model(dashboard)))
    again = json.loads(JSONEncoder().encode(GrafanaDashboard.from_json(told)))
    assert list(_missing(told, again)) == []


def _missing(told: Any, again: Any, where: str = "") -> Iterator[str]:
    if isinstance(told, dict) and isinstance(again, dict):
        for name, value in told.items():
            if name not in again:
                yield f"{where}.{name}"
            else:
                yield from _missing(value, again[name], f"{where}.{name}")
    elif isinstance(told, list) and isinstance(again, list):
        if len(told) != len(again):
            yield f"{where}: {len(told)} became {len(again)}"
        for at, (one, other) in enumerate(zip(told, again, strict=False)):
            yield from _missing(one, other, f"{where}[{at}]")
    elif told != again:
        yield f"{where}: {told!r} became {again!r}"


def test_a_word_that_grafana_does_not_know_is_seen() -> None:
    """As of a typing error in a panel's settings."""
    register_default_plugins()
    told = model(DASHBOARDS[0])
    told["refrsh"] = "30s"
    again = json.loads(JSONEncoder().encode(GrafanaDashboard.from_json(told)))
    assert list(_missing(told, again)) == [".refrsh"]


@needs_promtool
@EACH
def test_prometheus_takes_every_query(dashboard: Dashboard, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": _concrete(query.expression)}
        for number, query in enumerate(_queries(dashboard))
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = promtool("check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


@EACH
def test_every_query_asks_of_the_catalogue_and_of_what_is_chosen(dashboard: Dashboard) -> None:
    names = {metric.name for metric in CATALOGUE} | {
        f"{metric.name}{end}" for metric in CATALOGUE if metric.buckets for end in ("_sum", "_count", "_bucket")
    }
    for query in _queries(dashboard):
        found = re.findall(r"(htcgrid_[a-z_]+)(\{[^}]*\})?", query.expression)
        assert found
        for name, selector in found:
            assert name in names
            assert 'grid=~"$grid", region=~"$region"' in selector


def test_every_metric_is_shown() -> None:
    shown = "".join(query.expression for dashboard in DASHBOARDS for query in _queries(dashboard))
    assert [metric.name for metric in CATALOGUE if metric.name not in shown] == []


def _queries(dashboard: Dashboard) -> Iterator[Any]:
    return (query for row in dashboard.rows for panel in row.panels for query in panel.queries)


def _concrete(expression: str) -> str:
    text = expression.replace("$__rate_interval", "5m")
    return re.sub(r"\$(grid|region|pool)", ".*", text)
