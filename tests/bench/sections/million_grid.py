"""A million-task session on the grid: submit, poll, wait, read; time and memory of the client for each."""

from __future__ import annotations

import time
from typing import Any

from tests.bench import events, handlers
from tests.bench.case import Metrics, Note
from tests.bench.engines.grid import GridSubmit, reference
from tests.bench.measure.memory import MemoryMeter
from tests.bench.measure.samples import median
from tests.bench.sizes import Sizes

MS_PER_S = 1_000


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """One session from its submission to its last result."""
    metrics: Metrics = {}
    with GridSubmit(sizes.workers) as engine:
        note("a small session first")
        small = engine.grid.submit(reference(handlers.stamp), events.short(sizes.small_session))
        read_all(small, sizes.small_session)
        note("submitting")
        with MemoryMeter() as memory:
            start = time.perf_counter()
            large = engine.grid.submit(reference(handlers.stamp), events.short(sizes.million))
            metrics["submit_s"] = time.perf_counter() - start
        metrics["submit_memory_mib"] = memory.growth_mib
        note("polling while it runs")
        metrics |= polls_ms(engine.grid, small, large, sizes, "busy")
        note("waiting")
        with MemoryMeter() as memory:
            large.wait()
        woken_at, metrics["tasks_per_s"] = time.time(), sizes.million / (time.perf_counter() - start)
        metrics["wait_memory_mib"] = memory.growth_mib
        note("polling at rest")
        metrics |= polls_ms(engine.grid, small, large, sizes, "idle")
        note("reading")
        with MemoryMeter() as memory:
            start = time.perf_counter()
            last_at = read_all(large, sizes.million)
            metrics["results_per_s"] = sizes.million / (time.perf_counter() - start)
        metrics["results_memory_mib"] = memory.growth_mib
        metrics["wake_ms"] = (woken_at - last_at) * MS_PER_S
    return metrics


def polls_ms(grid: Any, small: Any, large: Any, sizes: Sizes, when: str) -> Metrics:
    """The median time of a progress poll of each session, polled in turn so that both meet the same load.

    The grid is asked, not the session's handle: a handle need not ask again about a session that has ended.
    """
    sessions = (("small", small.id, sizes.small_session), ("large", large.id, sizes.million))
    times_ms: dict[str, list[float]] = {name: [] for name, _, _ in sessions}
    for _ in range(sizes.polls):
        for name, session_id, total in sessions:
            start = time.perf_counter()
            (progress,) = grid.progress([session_id])
            times_ms[name].append((time.perf_counter() - start) * MS_PER_S)
            if progress.total != total:
                raise events.WrongResultError(f"{total} tasks, but {progress}")
    return {f"poll_{name}_{when}_ms": median(samples) for name, samples in times_ms.items()}


def read_all(session: Any, count: int) -> float:
    """Stream and compare all results; the time at which the last task ended."""
    last_at, index = 0.0, -1
    for index, result in enumerate(session.results()):
        if result["n"] != index:
            raise events.WrongResultError(f"task {index}: {result!r}")
        last_at = max(last_at, result["at"])
    if index + 1 != count:
        raise events.WrongResultError(f"{count} tasks, {index + 1} results")
    return last_at
