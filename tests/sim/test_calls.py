"""Calls beside the loop, in virtual time: what they hide, and what they must not do."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.calls import Calls, InlineCalls
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.domain import limits
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.domain.usage import FunctionUsage
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import AgentRecord, Claimed, Commit, Refused, Renewal, Renewed
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from htcgrid_core.testing.simulator.calls import SimulatedCalls
from htcgrid_core.testing.simulator.faults import FaultRates
from htcgrid_core.testing.simulator.planes import MemoryBlobs, SimulatedDoorbell, SimulatedQueue
from htcgrid_core.testing.simulator.world import VirtualClock, World
from tests.manual_agent import submit

SLOTS = 32


@dataclass
class SlowStore(SqliteStore):
    """Answers as late as DynamoDB within a region, or as late as it is told to."""

    world: World
    commit_seconds: float = 0.015
    beats: list[float] = field(default_factory=list)
    waiting: int = 0  # tasks that an agent has and has not begun
    most_waiting: int = 0

    def __post_init__(self) -> None:
        super().__init__(Database(":memory:"))

    def claim(self, *args: str, **kwargs: object) -> Claimed | Refused:
        self.world.pause(0.012)
        answer = super().claim(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they are
        if isinstance(answer, Claimed):
            self.waiting += len(answer.bundle.indexes)
            self.most_waiting = max(self.most_waiting, self.waiting)
        return answer

    def commit(self, commit: Commit) -> SessionRecord:
        self.world.pause(self.commit_seconds)
        return super().commit(commit)

    def renew(self, renewals: Sequence[Renewal]) -> list[Renewed]:
        self.world.pause(0.012)
        return super().renew(renewals)

    def beat(self, agent: AgentRecord, *, size: PoolSize | None = None, usage: Sequence[FunctionUsage] = ()) -> None:
        self.beats.append(self.world.now)
        super().beat(agent, size=size, usage=usage)


def run(
    store: SlowStore, tasks: int, seconds: float, bundle_size: int, calls: Callable[[World], Calls] = SimulatedCalls
) -> float:
    """Virtual seconds that a session takes on one agent."""
    world = store.world
    rates = FaultRates(0, 0, 0, 0, 0, 0, 0, 0, 0, latency_seconds=0.0)
    plane = Plane(
        store=store,
        queue=SimulatedQueue(world, rates, jitter_seconds=1e-6),
        blobs=MemoryBlobs(),
        clock=VirtualClock(world),
        doorbell=SimulatedDoorbell(world, rates),
        keys=Keyring.of(b""),
        time_slice_seconds=limits.TIME_SLICE_SECONDS,
        rng=random.Random(1),
        token=lambda: f"{world.rng.getrandbits(64):016x}",
    )

    def pretend(event: bytes, index: int, attempt: int) -> Pretence:
        store.waiting -= 1
        return Pretence(seconds)

    def run_agent() -> None:
        workers = SimulatedWorkers(SLOTS, plane.clock, world.wait, pretend)
        Agent(plane, workers, AgentIdentity("agent"), calls=calls(world)).run()

    def client() -> None:
        spec = SessionSpec(function=FunctionSpec(name="module.handler"), agents=1, bundle_size=bundle_size)
        submit(plane, "session", spec, [0] * tasks, idempotent=False)
        world.spawn("agent", run_agent)

    started = world.now
    world.spawn("client", client)
    world.run(started + 10_000.0, lambda: len(ended(store)) == 1)
    assert store.session("session", 0.0).counters.completed == tasks
    world.close()
    return world.now - started


def ended(store: SlowStore) -> list[object]:
    return store._database.connection().execute("SELECT id FROM sessions WHERE live = 0").fetchall()


def test_calls_of_many_small_bundles_are_made_at_the_same_time() -> None:
    """Bundles of one task of 0.1 s: as many claims and commits as tasks, and slots hardly wait for them."""
    inline = run(SlowStore(World(1)), 1000, 0.1, 1, lambda _: InlineCalls())
    beside = run(SlowStore(World(1)), 1000, 0.1, 1)
    assert inline / beside > 5, f"{inline} s and {beside} s"
    ideal = 1000 * 0.1 / SLOTS
    assert ideal / beside > 0.85, f"{beside} s"


@pytest.mark.parametrize("bundle_size", [1, 16, 256])
def test_an_agent_takes_no_more_than_it_is_about_to_run(bundle_size: int) -> None:
    store = SlowStore(World(1))
    run(store, 1024, 0.5, bundle_size)
    backlog = SLOTS * limits.BACKLOG_SECONDS / 0.5
    assert store.most_waiting <= SLOTS + backlog + bundle_size


def test_heartbeats_are_never_behind_a_queue_of_commits() -> None:
    store = SlowStore(World(1), commit_seconds=4.0)
    run(store, 400, 0.01, 1)
    gaps = [after - before for before, after in zip(store.beats, store.beats[1:], strict=False)]
    assert len(gaps) > 10
    assert max(gaps) < limits.HEARTBEAT_SECONDS + 0.1
