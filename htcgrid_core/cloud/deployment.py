"""A grid on AWS as its clients use it: planes, and agents that somebody else runs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING

from htcgrid_core.adapters.aws.doorbell import ProcessBell
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.cloud.registry import check_rules_tell
from htcgrid_core.domain import limits
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.ports.doorbell import COMMITS, Bell

if TYPE_CHECKING:
    import boto3

FIRST_POLL_SECONDS = 0.02
POLL_SHARE = 0.1  # of the time waited so far: what is late by a tenth is not felt
NEAR_SHARE = 0.1  # of one of the last waits, within which this one may end as that did
NEAR_POLL_SHARE = 0.02  # the share of the time waited so far then
NEAR_POLL_SECONDS = 0.01
USUAL_SHARE = 0.8  # of the shortest of the last waits, after which to look first
LONGEST_FIRST_SECONDS = 0.25
WAITS = 8


class PollingBell:
    """Rings by itself, ever more rarely: no bell of another machine is heard here."""

    def __init__(self, bell: ProcessBell, usual: Collection[float] = ()) -> None:
        """A bell that rings first when the shortest of the usual waits is near, and more often near each of them.

        Args:
            usual: how long the last waits were, in seconds.
        """
        self._bell = bell
        self._usual = tuple(usual)
        self._first_seconds = min(LONGEST_FIRST_SECONDS, USUAL_SHARE * min(usual, default=0.0))
        self._since = time.monotonic()

    @property
    def waited_seconds(self) -> float:
        """Since it was asked for, or ``clear``."""
        return time.monotonic() - self._since

    def fileno(self) -> int:
        """Readable when something in this process rang."""
        return self._bell.fileno()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a share of the time since ``clear``, or for a ring in this process; whether it is worth a look."""
        waited = self.waited_seconds
        near = [((1.0 - NEAR_SHARE) * usual, (1.0 + NEAR_SHARE) * usual) for usual in self._usual]
        if any(begin <= waited < end for begin, end in near):
            pause = max(NEAR_POLL_SECONDS, NEAR_POLL_SHARE * waited)
        else:  # and not past where looks become frequent
            ahead = [begin - waited for begin, _ in near if begin > waited]
            pause = max(FIRST_POLL_SECONDS, min([POLL_SHARE * waited, *ahead]))
        pause = max(pause, self._first_seconds - waited)
        return self._bell.wait(min(pause, timeout_seconds)) or pause < timeout_seconds

    def clear(self) -> None:
        """Begin to wait for something else."""
        self._since = time.monotonic()
        self._bell.clear()

    def close(self) -> None:
        """Stop listening."""
        self._bell.close()


class CloudGrid:
    """A grid on AWS.

    Args:
        session: whose credentials are used, instead of those that the address names.
    """

    def __init__(self, address: Address, session: boto3.Session | None = None) -> None:
        self.url = address.url
        self.cloud = open_cloud(address, session)
        self.plane = self.cloud.plane
        self.same_machine = False
        self.pools = tuple(self.cloud.parameter.queues)
        self.sizes: tuple[PoolSize, ...] = ()  # agents tell them
        self._waits: deque[float] = deque(maxlen=WAITS)
        self._agents = 0
        self._count_agents_at = float("-inf")

    def wake(self) -> None:
        """Agents are scaled by what waits, not by who asks."""

    def reachable_agents(self) -> int:
        """Agents among which a session submitted now would be shared: those that run, or that may be started."""
        now = self.plane.clock.monotonic()
        if now >= self._count_agents_at:
            self._agents = len(self.plane.store.agents(self.plane.clock.now()))
            # Idle ones say that they are there no more often; and a submission should seldom wait for this.
            self._count_agents_at = now + limits.IDLE_HEARTBEATS * limits.HEARTBEAT_SECONDS
        return max(self.cloud.parameter.defaults.agents, self._agents)

    def check_destination(self, destination: Destination) -> None:
        """Whether rules may tell it."""
        check_rules_tell(self.cloud.registry, destination)

    def borrow_bell(self) -> Bell:
        """A bell for COMMITS that nobody else waits on; it rings by how long the last waits were."""
        return PollingBell(self.cloud.doorbell.listen(COMMITS), self._waits)

    def return_bell(self, bell: Bell) -> None:
        """It costs nothing to make one."""
        if isinstance(bell, PollingBell):
            self._waits.append(bell.waited_seconds)
        bell.close()

    def close(self) -> None:
        """Send what is left."""
        self.cloud.close()
