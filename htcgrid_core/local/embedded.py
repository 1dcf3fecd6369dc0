"""The embedded grid as its clients use it: a plane, and agents that are there when there is work."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from htcgrid_core.adapters.local.doorbell import FifoBell
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import is_for_newer_agents
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.pool import DEFAULT_POOL, PoolSize
from htcgrid_core.domain.session_end import verdict
from htcgrid_core.domain.this_worker import this_worker
from htcgrid_core.local.agent_processes import Enough, enough_agents, ensure_agents
from htcgrid_core.local.agent_terms import RunningAgent
from htcgrid_core.local.directory import Directory, open_local
from htcgrid_core.local.fleet import MEND, Fleet, set_otherwise
from htcgrid_core.ports.doorbell import COMMITS, Bell
from htcgrid_core.ports.plane import Plane

_log = logging.getLogger(__name__)


class EmbeddedGrid:
    """A grid of one machine."""

    def __init__(self, url: str, directory: Directory, fleet: Fleet) -> None:
        self.url = url
        self.directory = directory
        self._local = open_local(directory)
        self.plane = self._local.plane
        self.same_machine = True
        self._fleet = fleet
        self.sizes = fleet.sizes if len(fleet.sizes) > 1 else _known(fleet, self.plane)
        self.pools: tuple[str, ...] = tuple(size.pool for size in self.sizes)
        self._agents = 0
        self._count_agents_at = float("-inf")
        self._bells: list[FifoBell] = []
        self._told: set[str] = set()
        self._enough: Enough | None = None  # as of the last close look

    def wake(self) -> None:
        """Make sure that agents run; called after a submit, and now and then while waiting for one."""
        if self._enough is not None and self._enough.are_there(self.directory):
            return
        self._tell(ensure_agents(self.directory, self._fleet, self._may_have_work, self._other_pools))
        if len(self.sizes) == 1:  # else which are enough depends on what is submitted
            self._enough = enough_agents(self.directory, self._fleet)

    def _tell(self, running: Sequence[RunningAgent]) -> None:
        """Warn, once, of what runs and is not as was asked for; tasks, which the grid tells its URL, asked nothing."""
        if this_worker() is not None:
            return
        for found in (self._fleet.excess(running), set_otherwise(running, os.environ)):
            if found and found not in self._told:
                self._told.add(found)
                _log.warning("the grid in %s runs with %s; %s", self.directory.root, found, MEND)

    def _may_have_work(self) -> bool:
        """Whether agents of this release have something to do: of a session for newer ones, they write the end."""
        now, live = self.plane.clock.now(), self.plane.store.live_sessions()
        return not live or any(
            not is_for_newer_agents(record.spec) or record.state is SessionState.CANCELLING or verdict(record, now)
            for record in live
        )

    def _other_pools(self) -> list[PoolSize]:
        """Beside the default pool, those in which live sessions queue, or to which their tasks may move."""
        if len(self.sizes) == 1:
            return []
        live = [record for record in self.plane.store.live_sessions() if not is_for_newer_agents(record.spec)]
        wanted = {pool for record in live for pool in (record.pool, record.larger_pool)}
        return [size for size in self.sizes if size.pool in wanted and size.pool != DEFAULT_POOL.pool]

    def reachable_agents(self) -> int:
        """Agents among which a session submitted now would be shared."""
        now = self.plane.clock.monotonic()
        if now >= self._count_agents_at:
            self._count_agents_at = now + limits.HEARTBEAT_SECONDS  # they say that they are there no more often
            self._agents = len(self.plane.store.agents(self.plane.clock.now()))
        return max(self._fleet.agents, self._agents)

    def check_destination(self, destination: Destination) -> None:
        """There are no rules here."""

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


def _known(fleet: Fleet, plane: Plane) -> tuple[PoolSize, ...]:
    """Pools that a URL does not name, and whose agents have run here."""
    (own,) = fleet.sizes
    return (own, *(size for size in plane.store.pools() if size.pool != own.pool))
