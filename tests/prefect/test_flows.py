"""Each flow of example_dags/prefect_flows/ runs against the real server as its user would run it."""

from __future__ import annotations

import importlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.support import REPOSITORY
from tests.prefect.api import api, artifacts

FLOWS = REPOSITORY / "example_dags" / "prefect_flows"
PNG = b"\x89PNG\r\n\x1a\n"


def run(script: str, *arguments: str, url: str, out: Path) -> str:
    """Run a flow's script in an empty folder; return what it printed."""
    out.mkdir()
    done = subprocess.run(
        [sys.executable, str(FLOWS / script), "--url", url, *arguments],
        cwd=out,
        env={**os.environ, "COLUMNS": "160", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def task_runs(prefect_server: str, flow_run_name: str) -> list[str]:
    """The states of a flow run's task runs."""
    wanted = {"name": {"any_": [flow_run_name]}}
    found = api(prefect_server, "/task_runs/filter", flow_runs=wanted, limit=200)
    return [task_run["state_type"] for task_run in found]


def test_american_puts(shared_grid_url: str, prefect_server: str, tmp_path: Path) -> None:
    """All twenty rows of the paper's table agree with ours, and each batch is a completed task run."""
    size = "--paths", "20000", "--batch", "10000"
    text = run("american_puts_flow.py", *size, url=shared_grid_url, out=tmp_path / "out")
    assert "20 of 20 rows agree" in text
    assert (tmp_path / "out" / "american_puts.png").read_bytes().startswith(PNG)
    (table,) = artifacts(prefect_server, "american-puts")
    rows = json.loads(table["data"])
    assert len(rows) == 20
    assert rows[0]["published"] == 4.472
    assert task_runs(prefect_server, "american-puts") == ["COMPLETED"] * 40


def test_asian_option(shared_grid_url: str, prefect_server: str, tmp_path: Path) -> None:
    """The simulation agrees with the closed form, which the flow itself checks; no task run is made."""
    text = run(
        "asian_option_flow.py", "--paths", "1000000", "--batch", "5000", url=shared_grid_url, out=tmp_path / "out"
    )
    assert "Asian call, 1,000,000 paths" in text
    (progress,) = artifacts(prefect_server, "htcgrid-asian-option")
    assert progress["data"] == 100.0
    assert "200 of 200 tasks completed" in progress["description"]
    assert task_runs(prefect_server, "asian-option") == []


def test_a_day_of_value_at_risk(
    shared_grid_url: str, prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a table to a table, twice; then once more with other input, whose rows take the place of the first."""
    monkeypatch.syspath_prepend(str(FLOWS))
    example = importlib.import_module("value_at_risk_day_flow")
    database = f"sqlite:///{tmp_path}/risk.db"
    for number in range(3):
        books = 12 if number < 2 else 10
        assert example.value_at_risk_day(database, books=12, url=shared_grid_url) == books
        with sqlite3.connect(tmp_path / "risk.db") as connection:
            rows = connection.execute("SELECT session, book, normal FROM risk ORDER BY task_index").fetchall()
            connection.execute("DELETE FROM books WHERE book > 'book-09' AND ?", (number == 1,))
        assert [row[:2] for row in rows] == [("2026-01-02", f"book-{book:02}") for book in range(books)]
        assert all(row[2] > 0 for row in rows)
