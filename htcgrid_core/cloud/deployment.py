"""A grid on AWS as its clients use it: planes, and agents that somebody else runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from htcgrid_core.adapters.aws.doorbell import ProcessBell
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.domain import limits
from htcgrid_core.ports.doorbell import COMMITS, Bell

if TYPE_CHECKING:
    import boto3

FIRST_POLL_SECONDS = 0.02
POLL_SHARE = 0.1  # of the time waited so far: what is late by a tenth is not felt


class PollingBell:
    """Rings by itself, ever more rarely: no bell of another machine is heard here."""

    def __init__(self, bell: ProcessBell) -> None:
        self._bell = bell
        self._since = time.monotonic()

    def fileno(self) -> int:
        """Readable when something in this process rang."""
        return self._bell.fileno()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a tenth of the time since ``clear``, or for a ring in this process; whether it is worth a look."""
        pause = max(FIRST_POLL_SECONDS, POLL_SHARE * (time.monotonic() - self._since))
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
        self._agents = 0
        self._count_agents_at = float("-inf")

    def wake(self) -> None:
        """Agents are scaled by what waits, not by who asks."""

    def reachable_agents(self) -> int:
        """Agents among which a session submitted now would be shared: those that run, or that may be started."""
        now = self.plane.clock.monotonic()
        if now >= self._count_agents_at:
            self._agents = len(self.plane.store.agents(self.plane.clock.now()))
            self._count_agents_at = now + limits.HEARTBEAT_SECONDS  # they say that they are there no more often
        return max(self.cloud.parameter.defaults.agents, self._agents)

    def borrow_bell(self) -> Bell:
        """A bell for COMMITS that nobody else waits on."""
        doorbell = self.cloud.doorbell
        return PollingBell(doorbell.listen(COMMITS))

    def return_bell(self, bell: Bell) -> None:
        """It costs nothing to make one."""
        bell.close()

    def close(self) -> None:
        """Send what is left."""
        self.cloud.close()
