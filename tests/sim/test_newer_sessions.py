"""A session for agents of a newer release, on a grid whose agents are older, in virtual time."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.queue import TableQueue
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.chores import Chore
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.domain import agent_version
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.bundle_queue import BundleQueue
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import Claimed, Refused
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from htcgrid_core.testing.simulator.faults import FaultRates
from htcgrid_core.testing.simulator.planes import MemoryBlobs, SimulatedDoorbell, SimulatedQueue
from htcgrid_core.testing.simulator.world import VirtualClock, World
from tests.manual_agent import submit

NEWER = "s-newer"
TASKS = 64
HOUR = 3600.0


def _pretend(event: bytes, index: int, attempt: int) -> Pretence:
    return Pretence(0.1)


class CountingStore(SqliteStore):
    """Counts what claims come to."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.claims = Counter[str]()

    def claim(
        self,
        session_id: str,
        bundle_id: str,
        *,
        token: str,
        owner: str,
        now: float,
        until: float,
        generation: str = "",
    ) -> Claimed | Refused:
        answer = super().claim(session_id, bundle_id, token=token, owner=owner, now=now, until=until)
        self.claims[session_id] += 1
        return answer


class MixedGrid:
    """Agents of this release, beside which the tests let one of the next begin."""

    def __init__(self, queue_of: Callable[[World, Database, FaultRates], BundleQueue]) -> None:
        self.world = World(1)
        database = Database(":memory:")
        rates = FaultRates(0, 0, 0, 0, 0, 0, 0, 0, 0, latency_seconds=0.001)
        self.store = CountingStore(database)
        self.plane = Plane(
            store=self.store,
            queue=queue_of(self.world, database, rates),
            blobs=MemoryBlobs(),
            clock=VirtualClock(self.world),
            doorbell=SimulatedDoorbell(self.world, rates),
            keys=Keyring.of(b""),
            time_slice_seconds=0.5,
            rng=random.Random(1),
            token=lambda: f"{self.world.rng.getrandbits(64):016x}",
        )

    def agent(self, name: str) -> None:
        """Let one more agent run."""
        self.world.spawn(name, partial(self._run, name))

    def _run(self, name: str) -> None:
        clock = self.plane.clock
        workers = SimulatedWorkers(2, clock, self.world.wait, _pretend)
        chore = Chore(10.0, lambda: reconcile(self.plane, 10.0))
        Agent(self.plane, workers, AgentIdentity(name), chores=(chore,)).run()

    def submit(self, session_id: str, **options: object) -> None:
        """Submit a session of TASKS tasks."""
        spec = SessionSpec.model_validate({"function": FunctionSpec(name="a.b"), "bundle_size": 4, **options})
        write = partial(submit, self.plane, session_id, spec, ["event"] * TASKS, idempotent=False)
        self.world.spawn(session_id, write)
        self.pass_(0.1)

    def submit_newer(self, **options: object) -> None:
        """Submit one that asks for the next release's agents."""
        self.submit(NEWER, min_agent_version=agent_version.AGENT_VERSION + 1, **options)

    def pass_(self, seconds: float, until_ended: str = "") -> None:
        """Let time pass, at most until a session has ended."""
        self.world.run(self.world.now + seconds, lambda: bool(until_ended) and self.row(until_ended).ended)

    def row(self, session_id: str) -> SessionRecord:
        """A session's row."""
        return self.store.session(session_id, self.world.now)

    def problems(self) -> list[str]:
        """What agents say."""
        return [agent.problem for agent in self.store.agents(self.world.now)]


def table_queue(world: World, database: Database, rates: FaultRates) -> BundleQueue:
    """One machine's."""
    return TableQueue(database)


def messages(world: World, database: Database, rates: FaultRates) -> BundleQueue:
    """Messages, as on AWS."""
    return SimulatedQueue(world, rates)


@pytest.fixture(params=[table_queue, messages])
def grid(request: pytest.FixtureRequest) -> MixedGrid:
    return MixedGrid(request.param)


def newer_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this is the next release."""
    monkeypatch.setattr(agent_version, "AGENT_VERSION", agent_version.AGENT_VERSION + 1)


def test_it_is_left_to_newer_agents_and_costs_nothing(grid: MixedGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other sessions go on beside it; a newer agent that comes gets it, though older ones go on beside, uncharged."""
    for number in range(3):
        grid.agent(f"older-{number}")
    grid.submit_newer()
    grid.pass_(60.0)
    grid.submit("s-usual")
    grid.pass_(HOUR, until_ended="s-usual")
    usual = grid.row("s-usual")
    assert (usual.state, usual.counters.completed) == (SessionState.COMPLETED, TASKS)
    assert usual.ended_at is not None
    assert usual.ended_at - usual.submitted_at < 5.0
    assert (grid.row(NEWER).counters.pending, grid.row(NEWER).state) == (TASKS, SessionState.RUNNING)
    newer_release(monkeypatch)
    began = grid.world.now
    grid.agent("newer")
    grid.pass_(HOUR, until_ended=NEWER)
    grid.world.close()
    assert grid.row(NEWER).counters.completed == TASKS
    assert grid.world.now - began < 600.0, "older agents hide messages of it for a few times as long as it had waited"
    crashes = grid.store._database.connection().execute("SELECT max(crashes) FROM bundles").fetchone()
    assert crashes == (0,)


def test_agents_do_not_turn_in_circles_over_it(caplog: pytest.LogCaptureFixture) -> None:
    """Each claims it once, is refused, and says so once in its log, and all the time as its problem."""
    grid = MixedGrid(messages)
    agents = 3
    for number in range(agents):
        grid.agent(f"older-{number}")
    with caplog.at_level(logging.WARNING):
        grid.submit_newer()
        grid.pass_(60.0)
        assert all(NEWER in problem for problem in grid.problems())
        grid.pass_(HOUR / 2)
    assert len(grid.problems()) == agents
    grid.world.close()
    assert 1 <= grid.store.claims[NEWER] <= agents * 8, "claims that are under way at once"
    assert len([record for record in caplog.records if NEWER in record.getMessage()]) == agents


def test_without_a_newer_agent_its_own_timeout_is_its_end(grid: MixedGrid) -> None:
    grid.agent("older")
    grid.submit_newer(timeout_seconds=HOUR)
    grid.pass_(2 * HOUR, until_ended=NEWER)
    grid.world.close()
    row = grid.row(NEWER)
    assert (row.state, row.counters.cancelled) == (SessionState.FAILED, TASKS)
    assert "deadline" in row.reason
