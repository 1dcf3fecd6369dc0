"""`.map` of tasks that do nothing, on each task runner."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from htcgrid_prefect import HTCGridTaskRunner

PROCESSES = 2  # of each runner that has some, and slots of the grid
WARM_UP_TASKS = 8  # workers import Prefect for them


@task
def noop(number: int) -> int:
    return number


@flow
def mapping(size: int, rounds: int) -> list[float]:
    """Seconds from each round's ``map`` to its last result."""
    noop.map(range(WARM_UP_TASKS)).result()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        assert noop.map(range(size)).result() == list(range(size))
        seconds.append(time.perf_counter() - started)
    return seconds


def _dask() -> TaskRunner[Any]:
    from prefect_dask import DaskTaskRunner  # type: ignore[import-not-found]  # of the benchmark only

    local: dict[str, Any] = {"n_workers": PROCESSES, "threads_per_worker": 1, "dashboard_address": None}
    runner: TaskRunner[Any] = DaskTaskRunner(cluster_kwargs=local)
    return runner


def _ray() -> TaskRunner[Any]:
    from prefect_ray import RayTaskRunner  # type: ignore[import-not-found]  # of the benchmark only

    local: dict[str, Any] = {
        "num_cpus": PROCESSES,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
        "log_to_driver": False,
    }
    runner: TaskRunner[Any] = RayTaskRunner(init_kwargs=local)
    return runner


THREADS, DASK, RAY = "ThreadPoolTaskRunner", "DaskTaskRunner", "RayTaskRunner"
PEERS: dict[str, Callable[[], TaskRunner[Any]]] = {
    THREADS: ThreadPoolTaskRunner,
    "ProcessPoolTaskRunner": lambda: ProcessPoolTaskRunner(max_workers=PROCESSES),
    DASK: _dask,
    RAY: _ray,
}


def ours(engine: str, reporting: str) -> str:
    """The name of a mode of HTCGridTaskRunner."""
    return f'HTCGridTaskRunner, engine="{engine}", reporting="{reporting}"'


OURS: dict[str, tuple[Any, Any]] = {
    ours(engine, reporting): (engine, reporting)
    for engine in ("prefect", "grid")
    for reporting in ("tasks", "terminal", "session")
}


def made(name: str, url: str) -> TaskRunner[Any]:
    """The runner of this name; ours works on the grid of this URL."""
    if name in PEERS:
        return PEERS[name]()
    engine, reporting = OURS[name]
    return HTCGridTaskRunner(url, engine=engine, reporting=reporting)
