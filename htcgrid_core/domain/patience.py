"""Patience: how long whoever waits for a session goes on while the grid cannot be read.

An outage, throttling, lost replies and credentials that have expired pass, and the session goes on meanwhile. Whoever
waits, wherever, bears them for as long as this says; any other refusal is raised at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CredentialsExpired, GridUnavailable

T = TypeVar("T")

PASSING = (GridUnavailable, CredentialsExpired)
SAY_SECONDS = 60.0  # between two words about the same trouble
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
PAUSE_SHARE = 0.1  # of the time that the trouble has lasted: what is late by a tenth is not felt


class Patience:
    """What one who waits bears: ``limits.PATIENCE_SECONDS`` without one read that succeeds.

    Args:
        monotonic: a clock that only goes forward (s).
        sleep: waits for a number of seconds.
        say: told when reads begin to fail, and now and then while they do.
    """

    def __init__(
        self, *, monotonic: Callable[[], float], sleep: Callable[[float], None], say: Callable[[str], object]
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._say = say
        self._since: float | None = None
        self._last = self._said = float("-inf")

    def rewarded(self) -> None:
        """A read has succeeded."""
        self._since = None

    def bear(self, error: BaseException) -> None:
        """A read has failed; return if it is worth another one.

        Raises:
            BaseException: ``error``, if it will not pass by itself.
            GridUnavailable, CredentialsExpired: it has lasted too long.
        """
        if not isinstance(error, PASSING):
            raise error
        now = self._monotonic()
        if self._since is None or now - self._last > limits.PATIENCE_SECONDS:  # nobody has tried since
            self._since, self._said = now, float("-inf")
        self._last = now
        lasted = now - self._since
        if lasted >= limits.PATIENCE_SECONDS:
            self._since = None
            raise type(error)(f"not one read has succeeded for {lasted:.0f} s: {error}") from error
        if now - self._said >= SAY_SECONDS:
            self._said = now
            left = limits.PATIENCE_SECONDS - lasted
            self._say(f"the grid cannot be read now, and is tried again for {left:.0f} s: {error}")

    def pause(self, at_most: float | None = None) -> None:
        """Let some time pass before the next try: the longer, the longer the trouble has lasted.

        Args:
            at_most: seconds; None for no limit.
        """
        lasted = 0.0 if self._since is None else self._last - self._since
        seconds = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, PAUSE_SHARE * lasted))
        self._sleep(seconds if at_most is None else max(0.0, min(seconds, at_most)))

    def read(self, call: Callable[[], T]) -> T:
        """What ``call`` returns, which is made again while it fails and patience lasts.

        Raises:
            As ``bear``.
        """
        while True:
            try:
                found = call()
            except PASSING as error:
                self.bear(error)
                self.pause()
            else:
                self.rewarded()
                return found
