"""A deployed no-op function on 32 slots: in native workers, and through AWS's client for Python."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path

from tests.bench import events
from tests.bench.case import Metrics, Note
from tests.bench.engines.base import UnavailableError
from tests.bench.measure.cpu import CpuMeter
from tests.bench.measure.samples import median
from tests.bench.sizes import Sizes

MS_PER_S = 1_000
SLOTS = 32
CLIENT = "awslambdaric"
SUBJECTS = ("native", CLIENT)
HANDLER = "def handler(event, context):\n    return event\n"


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """Warm up all slots, then several rounds of 1 KB events: tasks per second, and CPU per task of every process."""
    from htcgrid_core import connect

    if subject == CLIENT and importlib.util.find_spec(CLIENT) is None:
        raise UnavailableError(f"{CLIENT} is not installed")
    tasks = max(sizes.throughput_tasks // 2, SLOTS)
    inputs = events.one_kilobyte(tasks)
    rates, cpu_ms = [], []
    with tempfile.TemporaryDirectory(prefix="bench-grid-", ignore_cleanup_errors=True) as folder:
        source = Path(folder, "function")
        source.mkdir()
        (source / "app.py").write_text(HANDLER)
        with connect(f"local://{folder}/grid?slots={SLOTS}") as grid:
            grid.deploy("echo", source, handler="app.handler", runtime_client=subject == CLIENT)
            note(f"starting {SLOTS} workers")
            warm_up = events.one_kilobyte(max(sizes.warm_up_tasks, 10 * SLOTS), seed=2)
            events.check(list(grid.submit("echo", warm_up).results()), warm_up)
            for number in range(1, sizes.throughput_rounds + 1):
                note(f"round {number} of {sizes.throughput_rounds}")
                with CpuMeter() as cpu:
                    start = time.perf_counter()
                    results = list(grid.submit("echo", inputs).results())
                    elapsed_s = time.perf_counter() - start
                    time.sleep(sizes.settle_s)
                events.check(results, inputs)
                rates.append(tasks / elapsed_s)
                cpu_ms.append(cpu.seconds * MS_PER_S / tasks)
    return {"tasks_per_s": median(rates), "cpu_ms_per_task": median(cpu_ms)}
