"""The files that are made: rules and dashboards."""

from __future__ import annotations

from pathlib import Path

from tools.docs.places import REPOSITORY
from tools.monitoring import grafana, rules
from tools.monitoring.dashboards import DASHBOARDS

FOLDER = REPOSITORY / "infra" / "monitoring"
RULES = FOLDER / "rules.yaml"


def generated() -> dict[Path, str]:
    """What is to stand in each of them."""
    pages = {FOLDER / "dashboards" / f"{each.name}.json": grafana.text(each) for each in DASHBOARDS}
    return {RULES: rules.text(), **pages}
