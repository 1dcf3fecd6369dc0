"""Tasks of 1, 10 and 100 ms on two workers: the share of the ideal that is reached."""

from __future__ import annotations

import time

from tests.bench import events, handlers
from tests.bench.case import Metrics, Note
from tests.bench.engines.catalogue import ENGINES
from tests.bench.sizes import Sizes

MS_PER_S = 1_000
SUBJECTS = ("grid.submit", "ProcessPool", "Ray", "Dask")
KINDS = {"sleep": handlers.sleep, "busy": handlers.spin}


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """Efficiency is (tasks x duration / workers) / elapsed, for sleeping and for computing tasks."""
    metrics: Metrics = {}
    note("starting")
    with ENGINES[subject](sizes.workers) as engine:
        warm_up = events.timed(sizes.warm_up_tasks, 0.0)
        for kind, handler in KINDS.items():
            events.check(engine.run(handler, warm_up), range(len(warm_up)))
            for count, seconds in sizes.granularity:
                label = f"{kind}_{seconds * MS_PER_S:.0f}ms"
                note(f"{count} x {label}")
                start = time.perf_counter()
                results = engine.run(handler, events.timed(count, seconds))
                elapsed_s = time.perf_counter() - start
                events.check(results, range(count))
                metrics[f"efficiency_{label}"] = count * seconds / sizes.workers / elapsed_s
    return metrics
