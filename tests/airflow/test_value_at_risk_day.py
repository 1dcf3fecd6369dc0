"""The example of a day from a table to a table: its steps as Airflow would run them, one day twice."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
from airflow.sdk import DAG

from tests.airflow.steps import Step
from tests.airflow.test_tables import executed
from tests.e2e.support import REPOSITORY

FILE = REPOSITORY / "example_dags" / "airflow_dags" / "value_at_risk_day.py"


def dag() -> DAG:
    """The DAG of the file."""
    spec = importlib.util.spec_from_file_location("value_at_risk_day_dag", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: DAG = module.value.dag
    return found


def test_a_day_run_twice_doubles_no_row(grid_url: str, tmp_path: Path) -> None:
    params: dict[str, Any] = {"lake": str(tmp_path), "day": "2026-01-02", "books": 8}
    killed = tmp_path / "books" / "day=2026-01-02" / "_books.parquet"
    killed.parent.mkdir(parents=True)
    killed.write_bytes(b"PAR1")  # what a task that was killed has written
    for _ in range(2):
        tasks: dict[str, Any] = dict(dag().task_dict)
        assert tasks["value"].upstream_task_ids == {"books"}
        assert tasks["largest"].upstream_task_ids == {"value"}
        tasks["books"].python_callable(params)
        value: Any = tasks["value"]
        value.render_template_fields({"params": params})
        value.grid = grid_url
        manifest = executed(value, Step("value"))
        assert manifest["written"]["session"] == "2026-01-02"
        largest = tasks["largest"].python_callable(params=params, manifest=manifest)
        rows = parquet.read_table(tmp_path / "risk").to_pylist()
        assert sorted(row["book"] for row in rows) == [f"book-{book:02}" for book in range(8)]
        assert largest == max(rows, key=lambda row: row["filtered"])["book"]
        assert {str(row["session"]) for row in rows} == {"2026-01-02"}
