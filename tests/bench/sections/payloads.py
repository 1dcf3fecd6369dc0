"""Large results and large events, each a NumPy array: bytes a second; and what the grid needs of memory and disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import events, handlers
from tests.bench.case import Metrics, Note
from tests.bench.engines.base import Engine, UnavailableError
from tests.bench.engines.catalogue import ENGINES
from tests.bench.engines.grid import GridBase
from tests.bench.measure.memory import MemoryMeter
from tests.bench.sizes import Sizes

BYTES_PER_MB = 1_000_000
BYTES_PER_MIB = 1 << 20
STREAMED = "grid.map"
SUBJECTS = (STREAMED, "grid.executor", "ProcessPool", "loky", "Dask", "Ray")


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """What streaming takes; then the best of some rounds for each size and direction."""
    try:
        import numpy as np
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{error.name} is not installed") from error
    metrics: Metrics = {}
    with ENGINES[subject](sizes.workers) as engine:
        note("starting")
        engine.run(handlers.nap, [0.1] * (4 * sizes.workers))  # type: ignore[list-item]  # events of peers are any value
        if subject == STREAMED:  # first: later the process keeps memory, in which no growth would be seen
            metrics |= _streamed(engine, sizes, note)
        for name, count, size in sizes.payload_bytes:
            total_mb = count * size / BYTES_PER_MB
            asked = [{"n": n, "bytes": size} for n in range(count)]
            note(f"{count} results of {name}")
            metrics[f"results_{name}"] = total_mb / _best(
                sizes.payload_rounds, partial(engine.run, handlers.made, asked), _check_made
            )
            arrays: list[Any] = [np.full(size // 8, float(n)) for n in range(count)]
            note(f"{count} events of {name}")
            metrics[f"events_{name}"] = total_mb / _best(
                sizes.payload_rounds, partial(engine.run, handlers.ends_of, arrays), partial(_check_ends, size)
            )
            del arrays
    return metrics


def _best(rounds: int, call: Callable[[], list[Any]], check: Callable[[list[Any]], None]) -> float:
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        results = call()
        seconds.append(time.perf_counter() - start)
        check(results)
        del results
    return min(seconds)


def _check_made(results: list[Any]) -> None:
    events.check([(float(result[0]), float(result[-1])) for result in results], [(n, n) for n in range(len(results))])


def _check_ends(size: int, results: list[Any]) -> None:
    events.check([tuple(result) for result in results], [(size // 8, n, n) for n in range(len(results))])


def _streamed(engine: Engine, sizes: Sizes, note: Note) -> Metrics:
    """Results that are looked at one by one and let go: peak memory in payloads, and disk beside what is kept."""
    assert isinstance(engine, GridBase)
    _, count, size = sizes.payload_bytes[0]
    note(f"{count} results, streamed")
    disk = _disk_bytes(Path(engine.folder.name))
    with MemoryMeter() as memory:
        for n, result in enumerate(engine.grid.map(handlers.made, [{"n": n, "bytes": size} for n in range(count)])):
            if result[-1] != n:
                raise events.WrongResultError(f"task {n}: its array ends with {result[-1]}")
    grown = _disk_bytes(Path(engine.folder.name)) - disk
    return {
        "streamed_payloads": memory.growth_mib * BYTES_PER_MIB / size,
        "disk_share": grown / (count * size),
    }


def _disk_bytes(folder: Path) -> int:
    """What files take: a write-ahead log and other temporary files included."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
