"""Cancelling tasks that ignore SIGTERM: their processes must be gone within a heartbeat."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import psutil

from tests.bench import handlers
from tests.bench.case import Metrics, Note
from tests.bench.engines.grid import GridSubmit, reference
from tests.bench.sections.waiting import until
from tests.bench.sizes import Sizes

START_TIMEOUT_S = 30.0
GONE_TIMEOUT_S = 60.0
TASKS_PER_WORKER = 5


def gone(pid: int) -> bool:
    """Whether the process runs no more (a zombie does not run)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """From ``cancel`` until no process that ran a stubborn task is left."""
    with tempfile.TemporaryDirectory(prefix="bench-stubborn-") as folder, GridSubmit(sizes.workers) as engine:
        engine.one(handlers.echo, {"n": 0})
        count = sizes.workers * TASKS_PER_WORKER
        tasks = [{"n": n, "s": sizes.cancel_sleep_s, "dir": folder} for n in range(count)]
        session = engine.grid.submit(reference(handlers.stubborn), tasks)
        note("starting")
        until(
            lambda: len(list(Path(folder).iterdir())) >= sizes.workers,
            "every worker runs a task",
            START_TIMEOUT_S,
        )
        start = time.perf_counter()
        session.cancel()
        note("cancelling")
        until(lambda: all(gone(int(entry.name)) for entry in Path(folder).iterdir()), "gone", GONE_TIMEOUT_S)
        gone_s = time.perf_counter() - start
        until(lambda: session.progress().state == "CANCELLED", "the session is CANCELLED", GONE_TIMEOUT_S)
        state_s = time.perf_counter() - start
    return {"stubborn_gone_s": gone_s, "stubborn_state_s": state_s}
