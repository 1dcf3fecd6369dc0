"""Rate limits: for each principal a bucket of requests, which fills again as time passes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from htcgrid_core.api.failure import Failure
from htcgrid_core.codecs import problems

KEPT = 10_000  # buckets; one that is forgotten is full


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rates:
    """Requests a second, and as many again at once.

    Args:
        per_second: None for no limit.
    """

    def __init__(self, per_second: float | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, who: str) -> None:
        """One request.

        Raises:
            Failure: it is one too many.
        """
        if self._rate is None:
            return
        now = self._monotonic()
        size = max(1.0, 2 * self._rate)
        bucket = self._buckets.setdefault(who, _Bucket(size, now))
        self._buckets.move_to_end(who)
        if len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)
        bucket.left = min(size, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.left < 1:
            seconds = (1 - bucket.left) / self._rate
            raise Failure(
                problems.TOO_MANY,
                f"{who} asks more than {self._rate:g} times a second",
                headers={"Retry-After": str(max(1, round(seconds)))},
            )
        bucket.left -= 1
