"""The peer of the million-task session: a ProcessPoolExecutor with a million futures."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor

from tests.bench import events, handlers
from tests.bench.case import Metrics, Note
from tests.bench.measure.memory import MemoryMeter
from tests.bench.sizes import Sizes


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """Submit all, then read all in order."""
    with ProcessPoolExecutor(max_workers=sizes.workers) as pool:
        pool.submit(handlers.echo, {"n": 0}).result()
        note("submitting")
        with MemoryMeter() as memory:
            start = time.perf_counter()
            futures = [pool.submit(handlers.echo, event) for event in events.short(sizes.million)]
            submit_s = time.perf_counter() - start
        note("waiting")
        for index, future in enumerate(futures):
            if future.result() != {"n": index}:
                raise events.WrongResultError(f"task {index}: {future.result()!r}")
        total_s = time.perf_counter() - start
    return {
        "submit_s": submit_s,
        "submit_memory_mib": memory.growth_mib,
        "tasks_per_s": sizes.million / total_s,
    }
