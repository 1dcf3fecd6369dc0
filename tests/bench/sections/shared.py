"""An array that many tasks read: stored once, then read by all; and what that takes of the workers' memory."""

from __future__ import annotations

import os
import time
from typing import Any

import psutil

from tests.bench import events, handlers
from tests.bench.case import Metrics, Note
from tests.bench.engines.base import Engine, UnavailableError
from tests.bench.engines.catalogue import ENGINES
from tests.bench.engines.dask_tasks import DaskTasks
from tests.bench.engines.grid import GridBase
from tests.bench.engines.ray_tasks import RayTasks
from tests.bench.measure.cpu import tree
from tests.bench.sizes import Sizes

SUBJECTS = ("grid.map", "loky", "Dask", "Ray")


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """Seconds of the put and of the reads, and how much all other processes' proportional memory grows, in arrays."""
    try:
        import numpy as np
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{error.name} is not installed") from error
    array = np.ones(sizes.shared_input_bytes // 8)
    wanted = [float(len(array[:: 4096 // 8])) + n for n in range(sizes.shared_reads)]
    with ENGINES[subject](sizes.workers) as engine:
        note("starting")
        engine.run(handlers.nap, [0.1] * (4 * sizes.workers))  # type: ignore[list-item]  # events of peers are any value
        before = _others_bytes()
        note("putting")
        start = time.perf_counter()
        stored = _put(engine, array)
        put_s = time.perf_counter() - start
        note(f"{sizes.shared_reads} reads")
        start = time.perf_counter()
        results = _read(engine, stored, sizes.shared_reads)
        gets_s = time.perf_counter() - start
        events.check(results, wanted)
        grown = _others_bytes() - before
    return {
        "put_s": put_s,
        "gets_s": gets_s,
        "put_and_gets_s": put_s + gets_s,
        "memory_arrays": grown / sizes.shared_input_bytes,
    }


def _put(engine: Engine, array: Any) -> Any:
    match engine:
        case GridBase():
            return engine.grid.put(array)
        case RayTasks():
            return engine.ray.put(array)
        case DaskTasks():
            return engine.client.scatter(array, broadcast=True)
        case _:
            return array  # loky maps what it finds in arguments


def _read(engine: Engine, stored: Any, count: int) -> list[Any]:
    if isinstance(engine, RayTasks):  # which replaces references only where they are arguments themselves
        remote = engine.ray.remote(_touched)
        return list(engine.ray.get([remote.remote(stored, n) for n in range(count)]))
    if isinstance(engine, DaskTasks):
        calls = [engine.client.submit(_touched, stored, n, pure=False) for n in range(count)]
        return list(engine.client.gather(calls))
    return engine.run(handlers.touched, [{"array": stored, "n": n} for n in range(count)])


def _touched(array: Any, number: int) -> float:
    return handlers.touched({"array": array, "n": number})


def _others_bytes() -> int:
    """Memory of the case's processes but this one, shared pages counted once."""
    sizes = []
    for process in tree(os.getppid()):
        try:
            if process.pid != os.getpid():
                sizes.append(process.memory_full_info().pss)
        except psutil.NoSuchProcess:
            continue
    return sum(sizes)
