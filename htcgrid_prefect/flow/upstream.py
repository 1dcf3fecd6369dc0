"""Waiting for what a call needs; no thread waits for that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from prefect.futures import PrefectFuture

from htcgrid_prefect.flow.futures import HTCGridFuture


class UpstreamLatch:
    """A count-down latch: opens when the last of some futures has ended.

    Args:
        open_: called then, in whatever thread notices it.
        count: how many there are.
    """

    def __init__(self, open_: Callable[[], None], count: int) -> None:
        self._open = open_
        self._count = count
        self._lock = threading.Lock()

    def count_down_with(self, futures: Sequence[PrefectFuture[Any]]) -> None:
        """Count these as they end."""
        for future in futures:
            register = getattr(future, "_add_prefect_done_callback", future.add_done_callback)
            register(self._count_down)

    def _count_down(self, future: PrefectFuture[Any]) -> None:
        if not isinstance(future, HTCGridFuture):
            future.wait(0)  # others note their state only when somebody waits
        with self._lock:
            self._count -= 1
            is_last = not self._count
        if is_last:
            self._open()


def is_done(future: PrefectFuture[Any]) -> bool:
    """Whether a future of any runner has ended, as far as it knows."""
    return future.done() if isinstance(future, HTCGridFuture) else future.state.is_final()
