"""What many tasks take, in a process of its own, for `tests.prefect.bench`: time of a session, memory of a map."""

from __future__ import annotations

import logging
import resource
import sys
import time

from prefect import flow, task

from htcgrid_prefect import HTCGridTaskRunner, run_session

SESSION_TASKS = 100_000
MAP_TASKS = 200_000


@task
def noop(number: int) -> int:
    return number


def bare(number: int) -> int:
    return number


@flow
def session(url: str) -> float:
    started = time.perf_counter()
    assert sum(run_session(bare, range(SESSION_TASKS), grid=url)) == sum(range(SESSION_TASKS))
    return time.perf_counter() - started


@flow
def mapping() -> float:
    started = time.perf_counter()
    futures = noop.map(range(MAP_TASKS))
    assert sum(future.result() for future in futures) == sum(range(MAP_TASKS))
    return time.perf_counter() - started


def peak_mib() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(what: str, url: str) -> None:
    """Print a line."""
    logging.disable(logging.WARNING)
    before = peak_mib()
    if what == "run_session":
        print(f"run_session of {SESSION_TASKS:,} tasks: {session(url):.1f} s to the last result", flush=True)
        return
    runner: HTCGridTaskRunner = HTCGridTaskRunner(url, engine="grid")
    seconds = mapping.with_options(task_runner=runner)()
    print(
        f"a map of {MAP_TASKS:,} tasks: {seconds:.1f} s to the last result, {peak_mib():.0f} MiB at the most "
        f"({before:.0f} MiB before the flow)",
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
