"""Waiting for AWS: a name is free only some time after what had it was deleted. It is told, and it ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from htcgrid_core.domain.errors import GridUnavailable

WAIT_SECONDS = 300.0  # SQS's names take a minute, tables and buckets some more
PAUSE_SECONDS = 2.0

Say = Callable[[str], None]


class Patience:
    """How long to wait for each thing, and whom to tell.

    Args:
        say: told what is waited for, once for each thing and state of it.
        sleep: waits for a number of seconds.
        now: a clock that only goes forward (seconds).
    """

    def __init__(
        self, say: Say, *, sleep: Callable[[float], None] = time.sleep, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.say = say
        self.sleep = sleep
        self.now = now

    def begin(self) -> Wait:
        """Begin to wait for one thing."""
        return Wait(self)


class Wait:
    """One thing's wait."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._until = patience.now() + WAIT_SECONDS
        self._said = ""

    def longer(self, why: str) -> None:
        """Wait a little.

        Raises:
            GridUnavailable: it was enough.
        """
        if self._patience.now() >= self._until:
            raise GridUnavailable(f"{why}, still after {WAIT_SECONDS:.0f} s; run the same command again later")
        if why != self._said:
            self._patience.say(f"{why}: waiting, for at most {WAIT_SECONDS:.0f} s")
            self._said = why
        self._patience.sleep(PAUSE_SECONDS)
