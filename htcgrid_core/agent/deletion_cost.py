"""How much is lost with an agent, told to whoever chooses the pods that go when a pool shrinks."""

from __future__ import annotations

import logging
from collections.abc import Callable

from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.ports.clock import Clock

EVERY_SECONDS = 60.0  # at most one call; thousands of agents share one API server
SLOW_SECONDS = 600.0  # after one that failed
STEP = 0.25  # of the slots, by which the load must have changed; less is not worth a call

_log = logging.getLogger(__name__)


class DeletionCost:
    """Busy slots as a pod's deletion cost, with hysteresis: idle and not idle are told, and changes by a quarter.

    Args:
        slots: of the agent.
        busy: how many of them are, now.
        tell: writes it.
    """

    def __init__(self, slots: int, busy: Callable[[], int], tell: Callable[[int], None], clock: Clock) -> None:
        self._slots = slots
        self._busy = busy
        self._tell = tell
        self._clock = clock
        self._told: int | None = None
        self._not_before = float("-inf")
        self._failed = False

    def look(self) -> None:
        """Tell it if it is worth it: a chore, which is done beside the agent's loop."""
        cost, now = self._busy(), self._clock.monotonic()
        if now < self._not_before or not self._is_worth(cost):
            return
        self._not_before = now + EVERY_SECONDS
        try:
            self._tell(cost)
        except GridUnavailable as error:  # no reason to stop working
            self._not_before = now + SLOW_SECONDS
            if not self._failed:
                _log.warning("the cluster is not told how busy this pod is: %s", error)
            self._failed = True
        else:
            self._told, self._failed = cost, False

    def _is_worth(self, cost: int) -> bool:
        told = self._told
        if told is None:  # a container before this one may have told
            return True
        return (cost == 0) != (told == 0) or abs(cost - told) >= max(1.0, self._slots * STEP)
