"""What OpenLineage's own provider writes of a step, and what the session's tasks can say of their parent."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid
from tests.airflow.system.server import REPOSITORY
from tests.airflow.system.stack import AIRFLOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
DAG = Path(__file__).with_name("dags") / "lineage.py"


def test_run_events_and_the_parent_of_what_runs_on_the_grid(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "lineage.py").symlink_to(DAG)
    (tmp_path / "trades.jsonl").write_text("1\n2\n")
    told = tmp_path / "told.jsonl"
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(told), "append": True}),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
        "AIRFLOW_CONN_HTCGRID_DEFAULT": json.dumps({"conn_type": "htcgrid", "extra": {"grid": grid_url}}),
        "PYTHONPATH": str(REPOSITORY),
        "SYSTEM_TEST_FOLDER": str(tmp_path),
    }
    for command in (["db", "migrate"], ["dags", "test", "lineage"]):
        done = subprocess.run([AIRFLOW, *command], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    events = [json.loads(line) for line in told.read_text().splitlines()]
    started, ended = (of_the_step(events, kind) for kind in ("START", "COMPLETE"))
    run_id = ended["run"]["runId"]
    assert started["run"]["runId"] == run_id
    assert [(found["namespace"], found["name"]) for found in ended["inputs"]] == [
        ("file", str(tmp_path / "trades.jsonl"))
    ]
    assert [found["name"] for found in ended["outputs"]] == [str(tmp_path / "values.jsonl")]
    facets = ended["run"]["facets"]
    (session,) = (s for s in grid.sessions(limit=1000) if s.name == "lineage.price")
    assert (facets["htcgrid"]["session_id"], facets["htcgrid"]["completed"]) == (session.id, 2)
    assert (facets["parent"]["job"]["namespace"], facets["parent"]["job"]["name"]) == ("tests", "lineage")

    parent, root = f"tests/lineage.price/{run_id}", f"tests/lineage/{facets['parent']['run']['runId']}"
    assert session.labels["openlineage.parent"] == parent
    assert session.labels["openlineage.root_parent"] == root
    assert list(session.results()) == [parent, parent], "what a handler can name as its parent"


def of_the_step(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one event of this kind that the step's run has."""
    (found,) = (e for e in events if e["eventType"] == kind and e["job"]["name"] == "lineage.price")
    return found
