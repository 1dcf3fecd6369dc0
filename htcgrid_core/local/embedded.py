"""The embedded grid as its clients use it: a plane, and agents that are there when there is work."""

from __future__ import annotations

from htcgrid_core.adapters.local.doorbell import FifoBell
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import is_for_newer_agents
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session_end import verdict
from htcgrid_core.local.agent_processes import Fleet, ensure_agents
from htcgrid_core.local.directory import Directory, open_local
from htcgrid_core.ports.doorbell import COMMITS, Bell


class EmbeddedGrid:
    """A grid of one machine."""

    def __init__(self, url: str, directory: Directory, fleet: Fleet) -> None:
        self.url = url
        self.directory = directory
        self._local = open_local(directory)
        self.plane = self._local.plane
        self.same_machine = True
        self.pools: tuple[str, ...] = ("default",)
        self._fleet = fleet
        self._agents = 0
        self._count_agents_at = float("-inf")
        self._bells: list[FifoBell] = []

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
            bell = self._bells.pop()
            if bell.is_own:
                bell.clear()
                return bell
        return self._local.doorbell.listen(COMMITS)

    def return_bell(self, bell: Bell) -> None:
        """Keep a bell for whoever waits next: making one costs more than a short task."""
        assert isinstance(bell, FifoBell)
        self._bells.append(bell)

    def close(self) -> None:
        """Give back descriptors, those of other threads too; whoever uses the grid again gets new ones."""
        while self._bells:
            self._bells.pop().close()
        self._local.database.close()
