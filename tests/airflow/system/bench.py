"""No-op tasks through one HTCGridSubmitOperator against ``.expand()``, and many operators deferred at once.

Usage::

    python -m tests.airflow.system.bench [--tasks 1000] [--mapped 1000] [--deferred 200]

On one Airflow, in one run; Airflow starts 1 to 3 tasks a second, so it takes a quarter of an hour. Both times of no-op
tasks are from the start of the first task instance to the end of the last, as Airflow has them; the scheduling before
it is left out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from datetime import datetime
from pathlib import Path
from statistics import median

from tests.airflow.system.bench_deferred import deferred
from tests.airflow.system.conftest import DAGS
from tests.airflow.system.counting_triggerer import CALLS, LATE
from tests.airflow.system.rest import AirflowApi, eventually
from tests.airflow.system.stack import Stack, running
from tests.e2e.support import fresh_grid

RUNS = 3
PAGE = 100  # the most that Airflow's API lists at once
GUARD_SECONDS = 3600.0


def main() -> None:
    """Measure both and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1000, help="of the session (default: %(default)s)")
    parser.add_argument("--mapped", type=int, default=1000, help="mapped tasks; 0 for none (default: %(default)s)")
    parser.add_argument("--deferred", type=int, default=200, help="operators; 0 for none (default: %(default)s)")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="htcgrid-bench-") as folder, fresh_grid(Path(folder, "grid")) as url:
        extra = {
            "AIRFLOW_CONN_HTCGRID_DEFAULT": f'{{"conn_type": "htcgrid", "extra": {{"grid": "{url}"}}}}',
            "BENCH_SESSION_TASKS": str(options.tasks),
            "BENCH_MAPPED_TASKS": str(options.mapped),
            "BENCH_DEFERRED_OPERATORS": str(options.deferred),
            "AIRFLOW__HTCGRID__DEFER_AFTER": "0",
            CALLS: str(Path(folder, "calls")),
            LATE: str(Path(folder, "late")),
            "SYSTEM_TEST_FOLDER": folder,
        }
        with running(Path(folder, "airflow"), DAGS[0], extra) as stack:
            print(f"{os.cpu_count()} cores, LocalExecutor with 8 workers, Airflow's database is {stack.database}")
            if options.deferred:
                print(deferred(stack, options.deferred, Path(folder)), flush=True)
            if options.mapped:
                print(compared(stack, options.tasks, options.mapped))


def compared(stack: Stack, tasks: int, mapped: int) -> str:
    """The same no-op tasks through one operator and as mapped tasks."""
    session = [measured(stack, "bench_session", f"r{number}") for number in range(RUNS)]
    expanded = measured(stack, "bench_mapped", "r0")
    middle, rate = tasks / median(session), mapped / expanded
    each = ", ".join(f"{seconds:.2f} s" for seconds in session)
    return "\n".join([
        f"{tasks:,} no-op tasks, one operator: {each} (the first may start the agents)",
        f"{mapped:,} no-op tasks, .expand():  {expanded:.1f} s ({rate:.2f} tasks/s)",
        f"medians: {middle:,.0f} tasks/s through the operator, {middle / rate:,.0f} times as many",
    ])  # fmt: skip


def measured(stack: Stack, dag_id: str, run_id: str) -> float:
    """Run a DAG; return the seconds from its first task's start to its last one's end."""
    api = stack.api
    api.trigger(dag_id, run_id)
    eventually(lambda: api.run_state(dag_id, run_id) in {"success", "failed"}, f"{dag_id} has ended", GUARD_SECONDS)
    assert api.run_state(dag_id, run_id) == "success", api.log(dag_id, run_id, "fan_out")
    tasks = instances(api, dag_id, run_id)
    times = [[datetime.fromisoformat(task[name]) for task in tasks] for name in ("start_date", "end_date")]
    return (max(times[1]) - min(times[0])).total_seconds()


def instances(api: AirflowApi, dag_id: str, run_id: str) -> list[dict[str, str]]:
    """All task instances of a run."""
    found: list[dict[str, str]] = []
    path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances"
    while page := api.call("GET", path, limit=str(PAGE), offset=str(len(found)))["task_instances"]:
        found += page
    return found


if __name__ == "__main__":
    main()
