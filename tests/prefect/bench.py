"""`.map` of no-op tasks against Prefect's thread pool, in the same run, on the same server: `make bench-prefect`.

Each runner maps once to warm up (workers import Prefect) and then `--rounds` times; medians are printed. The time is
what the flow sees: from `map` to the last result. What the server still has to record then is not in it.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.support import fresh_grid
from tests.prefect.conftest import start_server, stop_server  # sets Prefect's home and API before it is imported

from prefect import flow, task  # isort: skip
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner  # isort: skip
from htcgrid_prefect import HTCGridTaskRunner  # isort: skip


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


def runners(url: str) -> dict[str, TaskRunner[Any]]:
    """What is compared, by name."""
    found: dict[str, TaskRunner[Any]] = {"thread pool": ThreadPoolTaskRunner()}
    for engine in ("prefect", "grid"):
        for reporting in ("tasks", "terminal", "session"):
            name = f'engine="{engine}", reporting="{reporting}"'
            found[name] = HTCGridTaskRunner(url, engine=engine, reporting=reporting)
    return found


def main() -> None:
    """Print a row for each runner."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    server = start_server()
    try:
        with tempfile.TemporaryDirectory() as folder, fresh_grid(Path(folder) / "grid", idle=120) as url:
            print(f"{arguments.tasks} no-op tasks, median of {arguments.rounds} rounds")
            base = 0.0
            for name, runner in runners(url).items():
                flow_of_it = mapping.with_options(task_runner=runner)
                seconds = statistics.median(flow_of_it(arguments.tasks, arguments.rounds))
                rate = arguments.tasks / seconds
                base = base or rate
                print(f"{name:40} {rate:8,.0f} tasks/s {rate / base:8.2f} x the thread pool", flush=True)
    finally:
        stop_server(server)


if __name__ == "__main__":
    main()
