"""Thousands of agents in virtual time: real agents and services, and AWS's latencies and limits under them."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from htcgrid_core.adapters.aws.dynamodb.retries import TRIES
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.settings import AgentIdentity, AgentSettings
from htcgrid_core.domain import limits
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from htcgrid_core.testing.simulator.calls import SimulatedCalls
from htcgrid_core.testing.simulator.efficiency import _Nothing
from htcgrid_core.testing.simulator.planes import SimulatedDoorbell
from htcgrid_core.testing.simulator.world import VirtualClock, World
from tests.aws.bench.model import (
    IN_FLIGHT,
    READS_A_SECOND,
    WRITES_A_SECOND,
    ModelledBlobs,
    ModelledQueue,
    ModelledStore,
)
from tests.aws.bench.rows import Row
from tests.manual_agent import submit

SLOTS = 32
SPREAD = 0.2  # of a task's duration, a lognormal's
JOIN_SECONDS = 90.0  # in which the agents come
IDLE_SECONDS = 5.0  # an agent without work is woken by a message; it looks no more often by itself, to save real time


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is simulated."""

    agents: int
    task_seconds: float
    sessions: int
    seconds: float

    @property
    def tasks(self) -> int:
        """So many that all slots are busy for so long."""
        return int(self.agents * SLOTS * self.seconds / self.task_seconds) // self.sessions * self.sessions

    def __str__(self) -> str:
        """Say it for people."""
        return (
            f"{self.agents * SLOTS:,} slots, {self.tasks:,} tasks of {self.task_seconds:g} s in {self.sessions} "
            f"session{'s' if self.sessions > 1 else ''}"
        )


@dataclass(frozen=True, slots=True)
class Scaled:
    """What came of it.

    Attributes:
        tasks_a_second: ended, between a quarter and three quarters of them.
        busy: share of the slots' time in which tasks ran, in the same time.
        seconds: from the first submit to the last session's end.
    """

    fleet: Fleet
    tasks_a_second: float
    busy: float
    seconds: float
    commits: int
    calls: int
    throttled: int
    conflicts: int
    failed: int
    hottest_writes: tuple[str, int]
    hottest_reads: tuple[str, int]
    most_in_flight: int


class ModelledGrid:
    """One grid in virtual time, and its agents."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.database = Database(":memory:")
        self.store = ModelledStore(world, self.database)
        self.queue = ModelledQueue(world)
        self.blobs = ModelledBlobs(world)
        self.doorbell = SimulatedDoorbell(world, self.queue._rates)  # that nobody listens to

    def plane(self) -> Plane:
        """Its planes, for one process."""
        world = self.world
        return Plane(
            store=self.store,
            queue=self.queue,
            blobs=self.blobs,
            clock=VirtualClock(world),
            doorbell=self.doorbell,
            keys=Keyring.of(b""),
            time_slice_seconds=limits.TIME_SLICE_SECONDS,
            inline_payload_bytes=limits.AWS_INLINE_PAYLOAD_BYTES,
            rng=random.Random(world.rng.getrandbits(64)),
            token=lambda: f"{world.rng.getrandbits(64):016x}",
        )

    def agent(self, plane: Plane, number: int, pretend: Callable[[bytes, int, int], Pretence]) -> None:
        """Run an agent until the world ends."""
        workers = SimulatedWorkers(SLOTS, plane.clock, self.world.wait, pretend)
        settings, who = AgentSettings(poll_seconds=IDLE_SECONDS), AgentIdentity(f"agent-{number:05d}")
        Agent(plane, workers, who, settings, calls=SimulatedCalls(self.world)).run()

    def live(self) -> int:
        """Sessions that have not ended."""
        (count,) = self.database.connection().execute("SELECT count(*) FROM sessions WHERE live = 1").fetchone()
        return int(count)


class Fleetwide:
    """One run."""

    def __init__(self, fleet: Fleet, seed: int = 1) -> None:
        self.fleet = fleet
        self.world = World(seed)
        self.world.history = _Nothing()
        self.grid = ModelledGrid(self.world)
        self._rng = random.Random(seed)
        self.begun: list[tuple[float, float]] = []  # when, and for how long

    def run(self, note: Callable[[str], None]) -> Scaled:
        """Until every session has ended."""
        gc.disable()  # it would visit a hundred thousand slots again and again
        try:
            return self._run(note)
        finally:
            gc.enable()

    def _run(self, note: Callable[[str], None]) -> Scaled:
        fleet, world = self.fleet, self.world
        for number in range(fleet.agents):
            world.spawn(f"agent-{number}", partial(self._agent, number), world.rng.uniform(0.0, JOIN_SECONDS))
        world.run(world.now + JOIN_SECONDS + 2 * limits.HEARTBEAT_SECONDS)
        started = world.now
        for number in range(fleet.sessions):
            world.spawn(f"client-{number}", partial(self._client, number))
        while self.grid.live() or world.now < started + 1.0:
            note(f"{fleet}: {len(self.begun):,} begun, {world.now - started:.0f} s")
            world.run(world.now + 1.0)
        (ended,) = self.grid.database.connection().execute("SELECT max(ended_at) FROM sessions").fetchone()
        found = self._found(ended - started)
        world.close()
        return found

    def _agent(self, number: int) -> None:
        self.grid.agent(self.grid.plane(), number, self._pretend)

    def _pretend(self, event: bytes, index: int, attempt: int) -> Pretence:
        seconds = self.fleet.task_seconds * self._rng.lognormvariate(-SPREAD * SPREAD / 2, SPREAD)
        self.begun.append((self.world.now, seconds))
        return Pretence(seconds)

    def _client(self, number: int) -> None:
        spec = SessionSpec(function=FunctionSpec(name="simulated.handler"), agents=self.fleet.agents)
        events = [0] * (self.fleet.tasks // self.fleet.sessions)
        submit(self.grid.plane(), f"scale-{number:02d}", spec, events, idempotent=False)

    def _found(self, seconds: float) -> Scaled:
        fleet, demand, connection = self.fleet, self.grid.store.dynamo.demand, self.grid.database.connection()
        (commits,) = connection.execute("SELECT count(*) FROM outcomes").fetchone()
        (completed,) = connection.execute("SELECT sum(completed) FROM sessions").fetchone()
        if completed != fleet.tasks:
            raise RuntimeError(f"{completed} of {fleet.tasks} tasks completed")
        ends = sorted(at + length for at, length in self.begun)
        first, last = ends[len(ends) // 4], ends[3 * len(ends) // 4]
        ran = sum(max(0.0, min(last, at + length) - max(first, at)) for at, length in self.begun)
        return Scaled(
            fleet=fleet,
            tasks_a_second=len(ends) / 2 / (last - first),
            busy=ran / (fleet.agents * SLOTS * (last - first)),
            seconds=seconds,
            commits=commits,
            calls=demand.calls,
            throttled=demand.throttled,
            conflicts=demand.conflicts,
            failed=demand.failed,
            hottest_writes=demand.hottest(demand.writes),
            hottest_reads=demand.hottest(demand.reads),
            most_in_flight=self.grid.queue.most_in_flight,
        )


def rows_of(found: Scaled) -> list[Row]:
    """The budgets: AWS's quotas, and throughput."""
    fleet = found.fleet
    write_key, writes = found.hottest_writes
    read_key, reads = found.hottest_reads
    ideal = fleet.agents * SLOTS / fleet.task_seconds
    return [
        Row(f"{fleet}: tasks/s, the middle half", found.tasks_a_second, f"all slots busy: {ideal:,.0f}/s"),
        Row("share of the slots' time in which tasks run", found.busy, "", "at least", 0.95),
        Row("from submit to the end, s", found.seconds, f"without any overhead: {fleet.seconds:.0f}"),
        Row("write units/s of the hottest key, worst second", writes, write_key, "at most", WRITES_A_SECOND - 1),
        Row("read units/s of the hottest key, worst second", reads, read_key, "at most", READS_A_SECOND - 1),
        Row("messages in flight, most", found.most_in_flight, "of one queue", "at most", IN_FLIGHT),
        Row("calls throttled", found.throttled, f"of {found.calls:,} calls of DynamoDB", "at most", 0),
        Row("transactions that met others, and were repeated", found.conflicts, f"of {found.commits:,} commits"),
        Row(f"calls given up after {TRIES} tries", found.failed, "", "at most", 0),
    ]
