"""Where futures of one runner are settled, and where whoever waits for them is woken."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from prefect.client.schemas.objects import State
from prefect.logging import get_logger

from htcgrid_prefect.flow.futures import HTCGridFuture

logger = get_logger("htcgrid")


class Completions:
    """Settles futures; one condition serves all who wait."""

    def __init__(self) -> None:
        self.condition = threading.Condition()

    def settle(self, ended: Iterable[tuple[HTCGridFuture[Any], bytes | State[Any]]]) -> list[HTCGridFuture[Any]]:
        """Note how these ended, unless they had ended before; then call their callbacks.

        Returns:
            Those that had not ended before.
        """
        news = []
        with self.condition:
            for future, settled in ended:
                callbacks = future.settle(settled)
                if callbacks is not None:
                    news.append((future, callbacks))
            self.condition.notify_all()
        for future, callbacks in news:
            for callback in callbacks:
                try:
                    callback(future)
                except BaseException:  # as in concurrent.futures: one caller's callback is not the others' business
                    logger.exception("A callback of %r raised", future)
        return [future for future, _ in news]
