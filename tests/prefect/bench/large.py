"""What many tasks take: the time of a session, the memory of a map."""

from __future__ import annotations

import resource
import time
from typing import Any

from prefect import flow

from htcgrid_prefect import HTCGridTaskRunner, run_session
from tests.prefect.bench.runners import noop

BYTES_PER_KIB = 1024
BYTES_PER_MB = 1_000_000


@flow
def session(url: str, size: int) -> float:
    """Seconds from `run_session` to its last result."""
    started = time.perf_counter()
    # Of a module of ours, workers would import Prefect first, which no task of a session needs.
    assert sum(run_session(abs, range(size), grid=url)) == sum(range(size))
    return time.perf_counter() - started


@flow
def mapping(size: int) -> float:
    """Seconds from `map` to its last result; no list of the results is made."""
    started = time.perf_counter()
    futures: Any = noop.map(range(size))
    assert sum(future.result() for future in futures) == sum(range(size))
    return time.perf_counter() - started


def mapped(url: str, size: int) -> tuple[float, float]:
    """(seconds, most memory that this process has had in MB) of a map on the bare function."""
    runner: HTCGridTaskRunner = HTCGridTaskRunner(url, engine="grid")
    seconds = mapping.with_options(task_runner=runner)(size)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, peak_kib * BYTES_PER_KIB / BYTES_PER_MB
