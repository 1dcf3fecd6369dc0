"""Reading a grid in a thread of its own, so that keys are heard while the grid is slow, or away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from htcgrid_core.domain.patience import Patience

T = TypeVar("T")


class Reader(Generic[T]):
    """What was read last, again and again until this process ends.

    Args:
        look: reads it; while that fails for a reason that passes, it is read again as long as patience lasts.
        every_seconds: from one look to the next.

    Attributes:
        trouble: why nothing can be read now; empty while it can.
    """

    def __init__(self, look: Callable[[], T], every_seconds: float) -> None:
        self._look = look
        self._every_seconds = every_seconds
        self._failure: Exception | None = None
        self._seen = look()
        self.trouble = ""
        threading.Thread(target=self._read, name="htcgrid-top", daemon=True).start()

    def latest(self) -> T:
        """What was read last.

        Raises:
            Exception: nothing is read any more, and why.
        """
        if self._failure is not None:
            raise self._failure
        return self._seen

    def _read(self) -> None:
        patience = Patience(monotonic=time.monotonic, sleep=time.sleep, say=self._say)
        try:
            while True:
                time.sleep(self._every_seconds)
                self._seen = patience.read(self._look)
                self.trouble = ""
        except Exception as error:  # noqa: BLE001 - raised where it is asked for
            self._failure = error

    def _say(self, trouble: str) -> None:
        self.trouble = trouble
