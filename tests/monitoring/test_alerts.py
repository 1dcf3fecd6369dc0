"""Alert rules by promtool: each tells of the grid that is in trouble, in time, and of no other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.domain.metrics import CATALOGUE
from tests.monitoring.cases import CASES, MINUTES, Case
from tools.docs.places import REPOSITORY
from tools.monitoring import rules
from tools.monitoring.alerts import ALERTS, Alert

RULES = REPOSITORY / "infra" / "monitoring" / "rules.yaml"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: apt-get install prometheus")
# Pairs of grids whose series must not be added up: of two names, and of one name in two regions.
WHOSE = [("book", "eu-west-1"), ("desk", "eu-west-1"), ("book", "us-east-1")]
IN_TROUBLE = ("risk", "eu-west-1")
AS_MEANT = ("night", "eu-west-1")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_the_rules_are_fresh() -> None:
    """`make docs` writes them."""
    assert RULES.read_text() == rules.text()


def test_every_rule_is_tried_and_every_try_is_of_a_rule() -> None:
    assert [alert.name for alert in ALERTS] == list(CASES)


def test_the_runbook_has_every_alert() -> None:
    sections = re.findall(r"^## (.+)$", (REPOSITORY / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert {alert.name for alert in ALERTS} <= set(sections)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_rules_keep_grids_apart_and_know_the_catalogue(alert: Alert) -> None:
    for by in re.findall(r"\b(?:by|on) \(([^)]*)\)", alert.expression):
        assert by.startswith("grid, region")
    assert not re.search(r"\b(sum|max|min|avg|count) *\((?!$)", re.sub(r"\b\w+ by \([^)]*\) \(", "", alert.expression))
    names = {metric.name for metric in CATALOGUE} | {
        f"{metric.name}{end}" for metric in CATALOGUE if metric.buckets for end in ("_sum", "_count", "_bucket")
    }
    assert set(re.findall(r"htcgrid_[a-z_]+", alert.expression)) <= names


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


@needs_promtool
def test_each_alert_tells_of_the_grid_in_trouble_and_of_no_other(tmp_path: Path) -> None:
    files = [_file(tmp_path, alert, rules.text([alert])) for alert in ALERTS]  # each alone, which is quicker
    done = promtool("test", "rules", *files)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_a_rule_that_mixes_grids_is_seen(tmp_path: Path) -> None:
    """The tries can tell: a rule that adds up two grids' messages fails them."""
    (alert,) = [alert for alert in ALERTS if alert.name == "messages-late"]
    mixed = rules.text([alert]).replace("sum by (grid, region) (", "sum (")
    assert promtool("test", "rules", _file(tmp_path, alert, mixed)).returncode != 0


def _file(folder: Path, alert: Alert, text: str) -> str:
    """Of tries of a rule, beside the rule."""
    rule, file = folder / f"{alert.name}.rule.yaml", folder / f"{alert.name}.yaml"
    rule.write_text(text)
    tests = list(_tests(alert, CASES[alert.name]))
    file.write_text(json.dumps({"rule_files": [str(rule)], "evaluation_interval": "1m", "tests": tests}))
    return str(file)


def _tests(alert: Alert, case: Case) -> Iterator[dict[str, Any]]:
    quiet = [series for whose in WHOSE for series in _series(case.quiet, whose)]
    quiet += _series(case.meant, AS_MEANT)
    at = MINUTES - 1
    yield _test(f"{alert.name} leaves in peace", quiet, alert, [(at, [])])
    told = [_expected(alert, case)]
    # Before it has held for so long, nothing is told; of those that tell at once, the trouble begins after ten minutes.
    seen = [(alert.minutes - 1, []), (at, told)] if alert.minutes else [(5, []), (20, told)]
    yield _test(f"{alert.name} tells", [*quiet, *_series(case.fires, IN_TROUBLE)], alert, seen)


def _test(name: str, series: list[Any], alert: Alert, seen: list[tuple[int, list[Any]]]) -> dict[str, Any]:
    told = [{"eval_time": f"{at}m", "alertname": alert.name, "exp_alerts": expected} for at, expected in seen]
    return {"name": name, "interval": "1m", "input_series": series, "alert_rule_test": told}


def _series(values: Mapping[str, str], whose: tuple[str, str]) -> list[dict[str, str]]:
    grid, region = whose
    labels = f'grid="{grid}", region="{region}", pool="fast"'
    found = []
    for series, value in values.items():
        name, _, own = series.removesuffix("}").partition("{")
        found.append({"series": f"{name}{{{', '.join(filter(None, (own, labels)))}}}", "values": value})
    return found


def _expected(alert: Alert, case: Case) -> dict[str, Any]:
    grid, region = IN_TROUBLE
    labels = {"grid": grid, "region": region, **case.labels, **({} if case.of_grid else {"pool": "fast"})}
    summary = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], alert.summary)
    told = {"summary": summary, "runbook": f"docs/runbook.md#{alert.name}"}
    return {"exp_labels": {**labels, "severity": alert.severity}, "exp_annotations": told}
