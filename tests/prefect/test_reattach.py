"""A flow's process is killed in the middle of its maps; the flow run starts again and takes up what is there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client

from htcgrid_core import connect
from htcgrid_prefect import HTCGridTaskRunner
from tests.e2e.support import GUARD_SECONDS, REPOSITORY, eventually
from tests.prefect.support import states, task_runs, told

SCRIPT = """
import sys, time
from pathlib import Path
from prefect import flow, task, unmapped
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from htcgrid_prefect import HTCGridTaskRunner

url, engine, reporting, folder, flow_run_id = sys.argv[1:]

@task
def noted(folder, number, options):
    with (Path(folder) / str(number)).open("a") as file:
        file.write(".")
    while number % 4 and not (Path(folder) / "gate").exists():
        time.sleep(0.01)
    return number

@task
def plus(number, more):
    return number + more

@flow(task_runner=HTCGridTaskRunner(url, engine=engine, reporting=reporting))
def main():
    mapped = noted.map([folder] * 8, range(8), options=unmapped({"tags": {"one", "two", "three"}}))
    single = [noted.submit(folder, number, {}) for number in (16, 17)]
    after = plus.map(mapped, 100)
    (Path(folder) / "submitted").touch()
    print(sum(after.result()) + sum(future.result() for future in single), flush=True)

with get_client(sync_client=True) as client:
    flow_run = client.read_flow_run(flow_run_id)
run_flow(main, flow_run=flow_run)
"""


@flow
def main() -> None:
    """Only so that the server knows a flow run of it."""


@contextmanager
def running(script: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, script.name, *arguments], cwd=script.parent, env=environment, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("engine", "reporting"),
    [
        ("prefect", "tasks"),
        pytest.param("grid", "tasks", marks=pytest.mark.slow),
        pytest.param("grid", "session", marks=pytest.mark.slow),
    ],
)
def test_a_flow_run_that_was_killed_takes_up_its_tasks(
    shared_grid_url: str, tmp_path: Path, engine: str, reporting: str
) -> None:
    script = tmp_path / "flow_that_is_killed.py"
    script.write_text(SCRIPT)
    with get_client(sync_client=True) as client:
        flow_run_id = str(client.create_flow_run(main).id)
    arguments = (shared_grid_url, engine, reporting, str(tmp_path), flow_run_id)
    with running(script, *arguments) as first:
        eventually((tmp_path / "submitted").exists, "everything is submitted")
        eventually(lambda: any(int(file.name) % 4 for file in tmp_path.glob("[0-9]*")), "one has begun that waits")
        if reporting == "tasks":
            eventually(
                lambda: any(run.state_name == "Running" for run in task_runs(flow_run_id)),
                "the server knows that one runs",
            )
        first.kill()
    (tmp_path / "submitted").unlink()
    with connect(shared_grid_url) as grid:
        before = {session.id for session in grid.sessions(labels={"prefect.flow-run-id": flow_run_id})}
        with running(script, *arguments) as second:
            eventually((tmp_path / "submitted").exists, "everything is submitted once more")
            (tmp_path / "gate").touch()
            out, _ = second.communicate(timeout=GUARD_SECONDS)
        sessions = grid.sessions(labels={"prefect.flow-run-id": flow_run_id})
    assert int(out) == sum(range(8)) + 8 * 100 + 16 + 17
    assert {path.name: path.read_text() for path in tmp_path.glob("[0-9]*")} == {
        str(number): "." for number in (*range(8), 16, 17)
    }
    assert all(session.done() for session in sessions)
    assert before <= {session.id for session in sessions}
    if reporting == "tasks":
        for run in told(flow_run_id, {"Completed": 18}):
            assert states(run)[-1]["name"] == "Completed"
    else:
        told(flow_run_id, {"Completed": 4})  # one for each map, and two of submit


@task
def counts(folder: str) -> int:
    file = Path(folder) / "count"
    file.write_text(file.read_text() + "." if file.exists() else ".")
    return len(file.read_text())


def test_an_attempt_that_ended_in_good_order_is_not_taken_up(shared_grid_url: str, tmp_path: Path) -> None:
    """As with threads: whoever retries a flow run wants its tasks to run."""
    seen: list[Any] = []

    @flow(task_runner=HTCGridTaskRunner(shared_grid_url), retries=1)
    def again() -> list[int]:
        seen.append(counts.map([str(tmp_path)]).result())
        if len(seen) == 1:
            raise RuntimeError("once")
        return list(seen[-1])

    assert again() == [2]
