"""No-op tasks, 1 KB in and out: tasks per second, and CPU per task over every process involved."""

from __future__ import annotations

import time

from tests.bench import events, handlers
from tests.bench.case import Metrics, Note
from tests.bench.engines.catalogue import ENGINES
from tests.bench.measure.cpu import CpuMeter
from tests.bench.measure.samples import median
from tests.bench.sizes import Sizes

MS_PER_S = 1_000
SUBJECTS = (
    "grid.submit",
    "grid.map",
    "ProcessPool",
    "Pool.imap",
    "Pool.imap/256",
    "Ray",
    "Dask",
    "Celery",
)


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """Warm up, then several rounds; what servers do just after the last result counts as CPU, not as time."""
    inputs = events.one_kilobyte(sizes.throughput_tasks)
    warm_up = events.one_kilobyte(sizes.warm_up_tasks, seed=2)
    rates, cpu_ms = [], []
    note("starting")
    started = time.perf_counter()
    with ENGINES[subject](sizes.workers) as engine:
        events.check([engine.one(handlers.echo, warm_up[0])], warm_up[:1])
        first_result_s = time.perf_counter() - started
        events.check(engine.run(handlers.echo, warm_up), warm_up)
        for number in range(1, sizes.throughput_rounds + 1):
            note(f"round {number} of {sizes.throughput_rounds}")
            with CpuMeter() as cpu:
                start = time.perf_counter()
                results = engine.run(handlers.echo, inputs)
                elapsed_s = time.perf_counter() - start
                time.sleep(sizes.settle_s)
            events.check(results, inputs)
            rates.append(len(inputs) / elapsed_s)
            cpu_ms.append(cpu.seconds * MS_PER_S / len(inputs))
    return {
        "first_result_s": first_result_s,
        "tasks_per_s_best": max(rates),
        "tasks_per_s_median": median(rates),
        "cpu_ms_per_task_best": min(cpu_ms),
        "cpu_ms_per_task_median": median(cpu_ms),
    }
