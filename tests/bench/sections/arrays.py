"""joblib's calls on NumPy arrays: with the grid as its backend, and with its own, loky."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psutil

from tests.bench.case import Metrics, Note
from tests.bench.engines.base import UnavailableError
from tests.bench.events import WrongResultError
from tests.bench.measure.cpu import tree
from tests.bench.sizes import Sizes

BYTES_PER_MIB = 1 << 20
PRODUCT_ROWS = 300
PRODUCTS = 60
SUBJECTS = ("joblib on the grid", "loky")


def products(number: int) -> float:
    """What NumPy's libraries would start threads for."""
    import numpy as np

    array = np.full((PRODUCT_ROWS, PRODUCT_ROWS), 1.0 + number)
    for _ in range(PRODUCTS):
        array = np.clip(array @ array / PRODUCT_ROWS, 0.0, 1.0)
    return float(array[0, 0])


def total(market: dict[str, Any], number: int) -> float:
    """Look at all of what is shared, which is nested in a dictionary."""
    return float(sum(array.sum() for array in market.values())) + number


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """Seconds of products, which are slow where workers have too many threads; of calls that share arrays; memory."""
    try:
        import joblib
        import numpy as np
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{error.name} is not installed") from error
    metrics: Metrics = {}
    with _backend(subject, sizes.workers) as parallel:
        note("starting")
        parallel(joblib.delayed(products)(number) for number in range(sizes.workers))
        note(f"{sizes.products} products")
        calls = [joblib.delayed(products)(number) for number in range(sizes.products)]
        metrics["products_s"] = _timed(partial(parallel, calls), [products(number) for number in range(sizes.products)])
        rows = sizes.shared_array_mib * BYTES_PER_MIB // 8
        market = {"spots": np.ones(rows), "vols": np.ones(rows)}
        note(f"{sizes.shared_calls} calls of two arrays of {sizes.shared_array_mib} MiB")
        before = _memory_mib()
        calls = [joblib.delayed(total)(market, number) for number in range(sizes.shared_calls)]
        metrics["shared_s"] = _timed(partial(parallel, calls), [2.0 * rows + n for n in range(sizes.shared_calls)])
        metrics["shared_memory_mib"] = max(0.0, _memory_mib() - before)
    return metrics


@contextmanager
def _backend(subject: str, workers: int) -> Iterator[Any]:
    import joblib

    if subject == "loky":
        with joblib.Parallel(n_jobs=workers) as parallel:
            yield parallel
        return
    import htcgrid_core.joblib_backend

    assert htcgrid_core.joblib_backend  # importing it registers the backend
    with tempfile.TemporaryDirectory(prefix="bench-grid-", ignore_cleanup_errors=True) as folder:
        url = f"local://{folder}/grid?slots={workers}"
        with joblib.parallel_config(backend="htcgrid", url=url, n_jobs=workers), joblib.Parallel() as parallel:
            yield parallel


def _timed(call: Callable[[], list[float]], wanted: list[float]) -> float:
    start = time.perf_counter()
    results = call()
    seconds = time.perf_counter() - start
    if results != wanted:
        raise WrongResultError(f"{len(results)} results, which are not the {len(wanted)} that were wanted")
    return seconds


def _memory_mib() -> float:
    """Of the case's processes, shared pages counted once."""
    sizes = []
    for process in tree(os.getppid()):
        try:
            sizes.append(process.memory_full_info().pss)
        except psutil.NoSuchProcess:
            continue
    return sum(sizes) / BYTES_PER_MIB
