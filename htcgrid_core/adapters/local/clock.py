"""The machine's clocks."""

from __future__ import annotations

import time


class SystemClock:
    """Clock of this machine. It is asked dozens of times a task, so without a call in between."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        time.sleep(max(0.0, seconds))
