"""The embedded grid as its clients use it: a plane, and agents that are there when there is work."""

from __future__ import annotations

import os

from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import is_for_newer_agents
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session_end import verdict
from htcgrid_core.local.agent_processes import Fleet, ensure_agents
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.ports.doorbell import COMMITS, Bell


class EmbeddedGrid:
    """A grid of one machine."""

    def __init__(self, url: str, directory: Directory, fleet: Fleet) -> None:
        self.url = url
        self.directory = directory
        self.plane = open_plane(directory)
        self.same_machine = True
        self.pools: tuple[str, ...] = ("default",)
        self._fleet = fleet
        self._agents = 0
        self._count_agents_at = float("-inf")
        self._bells: list[tuple[int, Bell]] = []

    def wake(self) -> None:
        """Make sure that agents run; called after a submit, and now and then while waiting for one."""
        ensure_agents(self.directory, self._fleet, self._may_have_work)

    def _may_have_work(self) -> bool:
        """Whether agents of this release have something to do: of a session for newer ones, they write the end."""
        now, live = self.plane.clock.now(), self.plane.store.live_sessions()
        return not live or any(
            not is_for_newer_agents(record.spec) or record.state is SessionState.CANCELLING or verdict(record, now)
            for record in live
        )

    def reachable_agents(self) -> int:
        """Agents among which a session submitted now would be shared."""
        now = self.plane.clock.monotonic()
        if now >= self._count_agents_at:
            self._count_agents_at = now + limits.HEARTBEAT_SECONDS  # they say that they are there no more often
            self._agents = len(self.plane.store.agents(self.plane.clock.now()))
        return max(self._fleet.agents, self._agents)

    def borrow_bell(self) -> Bell:
        """A bell for COMMITS that nobody else waits on."""
        while self._bells:
            pid, bell = self._bells.pop()
            if pid == os.getpid():  # a forked child must not read its parent's
                bell.clear()
                return bell
        return self.plane.doorbell.listen(COMMITS)

    def return_bell(self, bell: Bell) -> None:
        """Keep a bell for whoever waits next: making one costs more than a short task."""
        self._bells.append((os.getpid(), bell))

    def close(self) -> None:
        """Remove this process's bells."""
        while self._bells:
            pid, bell = self._bells.pop()
            if pid == os.getpid():
                bell.close()
