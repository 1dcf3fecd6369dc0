"""Percentiles of samples, and the timing of repeated calls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest sample that at least ``share`` of them do not exceed."""
    ranked = sorted(samples)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def median(samples: Sequence[float]) -> float:
    """The middle sample."""
    return percentile(samples, 0.5)


def time_s(call: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
