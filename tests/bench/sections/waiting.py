"""Waiting for something to become true, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.bench.events import WrongResultError

TICK_S = 0.005


def until(condition: Callable[[], bool], what: str, timeout_s: float) -> float:
    """Return how many seconds it took; raise when it does not come true in time."""
    start = time.perf_counter()
    while not condition():
        if time.perf_counter() - start > timeout_s:
            raise WrongResultError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(TICK_S)
    return time.perf_counter() - start
