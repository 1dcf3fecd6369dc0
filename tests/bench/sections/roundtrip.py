"""One task at a time on an idle system: how long until its result is back; then what idling costs."""

from __future__ import annotations

import time

from tests.bench import events, handlers
from tests.bench.case import Metrics, Note
from tests.bench.engines.catalogue import ENGINES
from tests.bench.measure.cpu import CpuMeter
from tests.bench.measure.samples import percentile
from tests.bench.sizes import Sizes

MS_PER_S = 1_000
PERCENT = 100
WARM_UP_TRIPS = 10
SUBJECTS = ("grid.executor", "grid.submit", "bare relay", "ProcessPool", "Ray", "Dask")


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """Submit and await one task after another with a pause in between, then do nothing for a while."""
    inputs = events.one_kilobyte(sizes.round_trips + WARM_UP_TRIPS)
    results, trips_ms = [], []
    note("starting")
    with ENGINES[subject](sizes.workers) as engine:
        for number, event in enumerate(inputs):
            if number % 50 == 0:
                note(f"trip {number} of {len(inputs)}")
            time.sleep(sizes.round_trip_pause_s)
            start = time.perf_counter()
            results.append(engine.one(handlers.echo, event))
            trips_ms.append((time.perf_counter() - start) * MS_PER_S)
        events.check(results, inputs)
        note("idle")
        time.sleep(1)
        with CpuMeter() as cpu:
            time.sleep(sizes.idle_s)
    measured = trips_ms[WARM_UP_TRIPS:]
    return {
        "round_trip_ms_p50": percentile(measured, 0.50),
        "round_trip_ms_p99": percentile(measured, 0.99),
        "idle_cpu_percent": cpu.seconds / sizes.idle_s * PERCENT,
    }
