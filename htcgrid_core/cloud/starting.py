"""Agents that start while AWS is busy with others that do: each tries again at random, so that they share its rate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import Random
from typing import Protocol, TypeVar

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.ports.clock import Clock

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Reading(Protocol):
    """How what is read to find a grid is read."""

    def __call__(self, call: Callable[[], T], /) -> T:
        """What ``call`` returns."""


def once(call: Callable[[], T], /) -> T:
    """Read it, and fail if that does."""
    return call()


class PatientReading:
    """Read it again while AWS throttles or does not answer, for ``limits.START_PATIENCE_SECONDS``.

    A process that ended instead would be started again with all its calls before it, when all the others are, too.
    """

    def __init__(self, clock: Clock, rng: Random) -> None:
        self._clock, self._rng = clock, rng
        self._until = clock.monotonic() + limits.START_PATIENCE_SECONDS

    def __call__(self, call: Callable[[], T], /) -> T:
        """What ``call`` returns at last.

        Raises:
            GridUnavailable: time is up.
        """
        tries = 0
        while True:
            try:
                return call()
            except GridUnavailable as error:
                tries += 1
                longest = min(limits.START_LONGEST_PAUSE_SECONDS, 2.0**tries)
                pause = self._rng.uniform(0.0, longest)
                if self._clock.monotonic() + pause > self._until:
                    raise
                _log.warning("the grid is looked for again: %s", error, extra={"tries": tries, "seconds": pause})
                self._clock.sleep(pause)
