"""What an agent is and holds: what the parts of its loop share. Changed by the loop's own thread alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from htcgrid_core.agent.loop.calls import Calls
from htcgrid_core.agent.loop.leased_bundle import LeasedBundle
from htcgrid_core.agent.loop.readiness import Readiness
from htcgrid_core.agent.loop.slots import Slots
from htcgrid_core.agent.settings import AgentIdentity, AgentSettings
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent import AgentMemory
from htcgrid_core.domain.errors import GRID_FAILURES
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.worker import WorkerPool

SHORTEST_SLICE = 0.5  # of a time slice, at the end of a session


@dataclass(slots=True, eq=False)
class AgentState:
    """One agent's.

    Attributes:
        started_at: wall clock (s) since which it runs.
        worked_at: monotonic time at which it last had a lease.
        heartbeat_at: monotonic time at which its next heartbeat is due.
        leases: the bundles that it holds, by session and bundle.
        agents: that its pool can reach, as of the last heartbeat.
        on_end: called with the row of a session that a commit of its has ended.
        memory: asks what it takes of memory; may be called in any thread.
    """

    plane: Plane
    workers: WorkerPool
    identity: AgentIdentity
    settings: AgentSettings
    calls: Calls
    readiness: Readiness
    slots: Slots
    started_at: float
    worked_at: float
    heartbeat_at: float = float("-inf")
    leases: dict[tuple[str, str], LeasedBundle] = field(default_factory=dict)
    agents: int = 1
    on_end: Callable[[SessionRecord], object] = lambda _record: None
    memory: Callable[[], AgentMemory] = AgentMemory

    def held(self) -> list[LeasedBundle]:
        """The bundles that it holds now: what is done with one may change which they are."""
        return list(self.leases.values())

    def hold(self, leased: LeasedBundle) -> None:
        """Take a bundle in hand, for a slice of time that begins with its lease."""
        leased.slice_at = leased.clock.renewed_at + self.slice_seconds(leased)
        leased.usage = self.slots.usage
        self.leases[leased.key] = leased
        self.beat_within(self.settings.heartbeat_seconds)

    def beat_within(self, seconds: float) -> None:
        """The next heartbeat is due so soon at the latest."""
        self.heartbeat_at = min(self.heartbeat_at, self.plane.clock.monotonic() + seconds)

    def holds(self, leased: LeasedBundle) -> bool:
        """Whether a bundle has not been committed or dropped meanwhile."""
        return self.leases.get(leased.key) is leased

    def dispatch(self) -> None:
        """Give slots their next tasks."""
        self.slots.dispatch(self.held())

    def tolerating(self, action: Callable[[], object]) -> None:
        """Do what is repeated anyway: a grid that cannot be used now is no reason to drop running tasks."""
        try:
            action()
        except GRID_FAILURES as error:
            self.readiness.grid_failed(error)

    @property
    def is_heartbeat_due(self) -> bool:
        """Whether whoever makes many calls should leave off for a heartbeat."""
        return self.plane.clock.monotonic() >= self.heartbeat_at

    def slice_seconds(self, leased: LeasedBundle) -> float:
        """After which what is done of a bundle is committed, and what has not begun is shared.

        The more agents, the longer, or they would commit too often. But no more than half of what is left to do for
        all agents, or some would still have tasks to share when the others have none.
        """
        fleet = min(limits.MAX_SLICE_SECONDS, self.agents * limits.SLICE_SECONDS_AN_AGENT)
        longest = max(self.plane.time_slice_seconds, fleet)
        durations = self.slots.durations.expected(leased.key[0])
        if durations is None or self.agents == 1:
            return longest
        # Those that are done and not committed yet count as pending: half a slice's on average.
        left = durations * leased.work.session.counters.pending / (self.agents * self.workers.slots) - longest / 2
        return min(longest, max(self.plane.time_slice_seconds * SHORTEST_SLICE, left / 2))
