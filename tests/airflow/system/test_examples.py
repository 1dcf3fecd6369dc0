"""Every example DAG runs to its good end on Airflow's own processes, all at once."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from htcgrid_core import Grid
from tests.airflow.system.rest import eventually
from tests.airflow.system.server import REPOSITORY
from tests.airflow.system.stack import AIRFLOW, Stack

pytestmark = pytest.mark.timeout(600)
PNG = b"\x89PNG\r\n\x1a\n"
RUN = "examples"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def runs(stack: Stack, out: Path) -> Stack:
    """All examples, started."""
    confs: Mapping[str, Mapping[str, Any]] = {
        "american_puts": {"paths": 20_000, "batch": 10_000, "out": str(out / "puts")},
        "american_puts_deferred": {"paths": 5_000, "out": str(out / "deferred")},
        "value_at_risk_backtest": {"days": 30},
        "cancel_and_retry": {"out": str(out / "curves")},
        "simulate_puts": {"paths": 5_000},
        "book": {},
        "value_at_risk_day": {"lake": str(out / "lake")},
    }
    eventually(lambda: stack.api.known("check_puts"), "the DAG that an asset triggers is parsed")
    stack.api.call("PATCH", "dags/check_puts", {"is_paused": False}, update_mask="is_paused")
    for dag_id, conf in confs.items():
        stack.api.trigger(dag_id, RUN, conf)
    return stack


def succeeded(stack: Stack, dag_id: str, *tasks: str, run: str = RUN) -> None:
    state = stack.api.run_ended(dag_id, run)
    assert state == "success", "\n".join(_log(stack, dag_id, run, task) for task in tasks)


def _log(stack: Stack, dag_id: str, run: str, task: str) -> str:
    try:
        return stack.api.log(dag_id, run, task)
    except httpx.HTTPStatusError as error:  # it was never begun
        return f"{task}: {error}"


def test_american_puts(runs: Stack, out: Path) -> None:
    succeeded(runs, "american_puts", "prepare", "price", "report")
    assert "20 of 20 rows agree" in (out / "puts" / "report.txt").read_text()
    assert (out / "puts" / "american_puts.png").read_bytes().startswith(PNG)
    manifest = runs.api.xcom("american_puts", RUN, "price")
    assert (manifest["total"], manifest["completed"]) == (40, 40)
    assert len(json.dumps(manifest)) < 2048


def test_the_dag_of_the_readme(runs: Stack) -> None:
    succeeded(runs, "book", "trades", "price", "report")
    assert "366,707,234" in runs.api.log("book", RUN, "report")


def test_deferred(runs: Stack, out: Path) -> None:
    """The triggerer waits, and says how far the session is."""
    succeeded(runs, "american_puts_deferred", "submit", "ended", "collect")
    assert len((out / "deferred" / "results.jsonl").read_text().splitlines()) == 20


def test_value_at_risk(runs: Stack) -> None:
    succeeded(runs, "value_at_risk_backtest", "history", "forecast", "judge")
    violations = runs.api.xcom("value_at_risk_backtest", RUN, "judge")
    assert set(violations) >= {"historical", "normal", "garch"}


@pytest.mark.slow  # as one process: tests/airflow/test_value_at_risk_day.py
def test_a_day_from_a_table_to_a_table(runs: Stack, out: Path) -> None:
    """Its rows stand there once, however often it is run."""
    tasks = ("books", "value", "largest")
    for run in (RUN, "again"):
        if run != RUN:
            runs.api.trigger("value_at_risk_day", run, {"lake": str(out / "lake")})
        succeeded(runs, "value_at_risk_day", *tasks, run=run)
        found = pq.read_table(out / "lake" / "risk").to_pylist()  # with Hive's partitions, so with the day
        assert sorted((str(row["session"]), row["book"]) for row in found) == [
            ("2026-01-02", f"book-{book:02}") for book in range(24)
        ]
        assert runs.api.xcom("value_at_risk_day", run, "value")["written"]["session"] == "2026-01-02"
        assert runs.api.xcom("value_at_risk_day", run, "largest").startswith("book-")


def test_cancel_and_retry(runs: Stack, grid: Grid) -> None:
    """The second try runs only the quarter that failed; the cancelled session ends."""
    succeeded(runs, "cancel_and_retry", "book", "cancel")
    assert runs.api.task("cancel_and_retry", RUN, "book")["try_number"] == 2
    results = runs.api.xcom("cancel_and_retry", RUN, "book")
    assert results == [pytest.approx(0.97 * trade) for trade in range(100)]
    again, first = (s for s in grid.sessions(limit=1000) if s.name == "cancel_and_retry.book")
    assert (first.progress().failed, again.progress().total, again.spec.parent_id) == (25, 25, first.id)
    assert runs.api.xcom("cancel_and_retry", RUN, "cancel")["state"] == "CANCELLED"


def test_chained_through_an_asset(runs: Stack) -> None:
    """The first DAG's session updates the asset, which starts the second, whose events are the first one's results."""
    succeeded(runs, "simulate_puts", "simulate")

    def run_id() -> str | None:
        found = runs.api.call("GET", "dags/check_puts/dagRuns")["dag_runs"]
        return str(found[0]["dag_run_id"]) if found else None

    run = eventually(run_id, "the asset starts the second DAG")
    succeeded(runs, "check_puts", "check", run=run)
    checked = runs.api.xcom("check_puts", run, "check")
    assert len(checked) == 20
    assert all(abs(row["mean"] - row["exact"]) < 0.5 for row in checked)


@pytest.mark.slow
def test_without_any_server(grid_url: str, out: Path, tmp_path: Path) -> None:
    """``airflow dags test``, as the demo runs it."""
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "example_dags" / "airflow_dags"),
        "AIRFLOW_CONN_HTCGRID_DEFAULT": json.dumps({"conn_type": "htcgrid", "extra": {"grid": grid_url}}),
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY / "example_dags"), str(REPOSITORY))),
    }
    conf = json.dumps({"paths": 20_000, "batch": 10_000, "out": str(out / "test")})
    for command in (["db", "migrate"], ["dags", "test", "american_puts", "--conf", conf]):
        done = subprocess.run([AIRFLOW, *command], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "20 of 20 rows agree" in (out / "test" / "report.txt").read_text()
