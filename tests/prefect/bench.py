"""`.map` of no-op tasks on each of Prefect's task runners, in one run, on one server: `make bench-prefect`.

Each runner maps once to warm up (workers import Prefect) and then `--rounds` times; medians are printed. The time is
what the flow sees: from `map` to the last result. What the server still has to record then is not in it: the next
runner begins when the server has nothing left to do. Dask, Ray and the process pool map `--peer-tasks` once.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.support import fresh_grid
from tests.prefect.conftest import start_server, stop_server  # sets Prefect's home and API before it is imported

from prefect import flow, task  # isort: skip
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner  # isort: skip
from htcgrid_prefect import HTCGridTaskRunner  # isort: skip

LARGE = ("run_session", "memory")
IDLE_SHARE = 0.1  # of a core, that a server uses which has nothing to do
IDLE_WITHIN_SECONDS = 120.0


@task
def noop(number: int) -> int:
    return number


@flow
def mapping(size: int, rounds: int) -> list[float]:
    noop.map(range(8)).result()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        assert noop.map(range(size)).result() == list(range(size))
        seconds.append(time.perf_counter() - started)
    return seconds


def peers() -> dict[str, TaskRunner[Any]]:
    """Other runners that use more than one process; those that are installed."""
    found: dict[str, TaskRunner[Any]] = {"ProcessPoolTaskRunner, 2 processes": ProcessPoolTaskRunner(max_workers=2)}
    if importlib.util.find_spec("prefect_dask"):
        from prefect_dask import DaskTaskRunner  # type: ignore[import-not-found]  # of the benchmark only

        local: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        found["DaskTaskRunner, 2 processes"] = DaskTaskRunner(cluster_kwargs=local)
    if importlib.util.find_spec("prefect_ray"):
        from prefect_ray import RayTaskRunner  # type: ignore[import-not-found]  # of the benchmark only

        init: dict[str, Any] = {
            "num_cpus": 2,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
            "log_to_driver": False,
        }
        found["RayTaskRunner, 2 processes"] = RayTaskRunner(init_kwargs=init)
    return found


def ours(url: str) -> dict[str, TaskRunner[Any]]:
    """HTCGridTaskRunner in every mode, on an embedded grid with two slots."""
    return {
        f'engine="{engine}", reporting="{reporting}"': HTCGridTaskRunner(url, engine=engine, reporting=reporting)
        for engine in ("prefect", "grid")
        for reporting in ("tasks", "terminal", "session")
    }


def until_idle(server: int) -> None:
    """Wait until the server has recorded what it was told."""
    process = psutil.Process(server)
    deadline = time.monotonic() + IDLE_WITHIN_SECONDS
    while process.cpu_percent(interval=1.0) > 100 * IDLE_SHARE:
        if time.monotonic() > deadline:
            print(f"the server is still busy after {IDLE_WITHIN_SECONDS:g} s", flush=True)
            return


def rate(runner: TaskRunner[Any], tasks: int, rounds: int) -> float:
    """Tasks per second of the median round."""
    return tasks / statistics.median(mapping.with_options(task_runner=runner)(tasks, rounds))


def main() -> None:
    """Print a row for each runner, and what the large ones take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-tasks", type=int, default=500, help="of Dask, Ray and the process pool")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    server = start_server()
    try:
        with tempfile.TemporaryDirectory() as folder, fresh_grid(Path(folder) / "grid", idle=120) as url:
            rows: list[tuple[str, TaskRunner[Any], int, int]] = [
                ("ThreadPoolTaskRunner", ThreadPoolTaskRunner(), arguments.tasks, arguments.rounds),
                *((name, runner, arguments.tasks, arguments.rounds) for name, runner in ours(url).items()),
                *((name, runner, arguments.peer_tasks, 1) for name, runner in peers().items()),
            ]
            base = 0.0
            for name, runner, tasks, rounds in rows:
                until_idle(server.pid)
                found = rate(runner, tasks, rounds)
                base = base or found
                print(f"| {name:40} | {tasks:5,} | {found:8,.0f} | {found / base:8.2f} |", flush=True)
            for what in LARGE:
                until_idle(server.pid)
                subprocess.run([sys.executable, "-m", "tests.prefect.bench_large", what, url], check=True)
    finally:
        stop_server(server)


if __name__ == "__main__":
    main()
