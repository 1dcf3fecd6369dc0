"""One trace from a flow run on Prefect's server to what a task of it traces in a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.airflow.system.server import REPOSITORY
from tests.e2e.support import fresh_grid
from tests.telemetry.collector import collecting


@pytest.mark.timeout(600)  # a process of Prefect's and a worker's import all of it
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["prefect", "grid"])
def test_one_trace_from_the_flow_run_to_the_task(engine: str, tmp_path: Path) -> None:
    with collecting() as collector, fresh_grid(tmp_path / "grid", slots=1) as url:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "PYTHONPATH": str(REPOSITORY),
        }
        environment.pop("TRACEPARENT", None)
        command = [sys.executable, "-m", "tests.prefect.traced_flow", url, f"{collector.address}/v1/traces", engine]
        done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=480)
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["results"] == [0, 1, 2, 3, 4]
        collector.wait_for("session", 3)
        collector.wait_for("task", 5)
        prices = collector.wait_for("price", 5)

    (run,) = [span for span in collector.spans if span.told.get("prefect.run.id") == told["flow_run"]]
    carried = told["labels"]["__OTEL_TRACEPARENT"]
    assert carried.rpartition("-")[0] == f"00-{run.trace}-{run.span}", "as Prefect carries it"
    assert {span.trace for span in collector.spans} == {run.trace}
    by_id = {span.span: span for span in collector.spans}
    assert {span.name for span in collector.spans if span.parent not in by_id} == {run.name}
    (step,) = collector.named("the step")
    assert step.parent == run.span
    # Each is submitted where its call was made, whichever thread sends it; and so on to what a task traces itself.
    tasks = Counter(span.told["htcgrid.session.id"] for span in collector.named("task"))
    submitted = [(by_id[span.parent], tasks[span.told["htcgrid.session.id"]]) for span in collector.named("submit")]
    assert sorted((around.name, count) for around, count in submitted) == sorted(
        [(run.name, 1)] * 2 + [("the step", 3)]
    )
    assert {by_id[span.parent].name.partition(" ")[0] for span in collector.named("process")} == {"submit"}
    assert {by_id[span.parent].name.partition(" ")[0] for span in collector.named("task")} == {"process"}
    assert {span.told["n"] for span in prices} == {0, 1, 2, 3, 4}
    assert {by_id[span.parent].name.partition(" ")[0] for span in prices} == {"task"}
