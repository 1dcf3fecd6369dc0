"""How soon a waiter learns that the last task of its session has ended."""

from __future__ import annotations

import time

from tests.bench import events, handlers
from tests.bench.case import Metrics, Note
from tests.bench.engines.grid import GridSubmit, reference
from tests.bench.measure.samples import percentile
from tests.bench.sections.million_grid import read_all
from tests.bench.sizes import Sizes

MS_PER_S = 1_000


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """Many small sessions: from the end of the last handler to the return of ``wait``."""
    wakes_ms = []
    with GridSubmit(sizes.workers) as engine:
        for number in range(sizes.wakes + 1):
            note(f"session {number} of {sizes.wakes}")
            session = engine.grid.submit(reference(handlers.stamp), events.short(sizes.wake_tasks))
            session.wait()
            woken_at = time.time()
            wakes_ms.append((woken_at - read_all(session, sizes.wake_tasks)) * MS_PER_S)
    return {
        "wake_small_ms_p50": percentile(wakes_ms[1:], 0.50),
        "wake_small_ms_max": max(wakes_ms[1:]),
    }
