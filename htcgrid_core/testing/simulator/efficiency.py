"""How near to an ideal queue of single tasks a session runs, with many agents in virtual time and no faults."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.codecs.events import encoded
from htcgrid_core.domain import limits
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.bundle_queue import Hint, Message, Received
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import AgentRecord
from htcgrid_core.services.submit import submit
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from htcgrid_core.testing.simulator.faults import FaultRates, FaultyPort
from htcgrid_core.testing.simulator.planes import MemoryBlobs, SimulatedDoorbell, SimulatedQueue
from htcgrid_core.testing.simulator.world import Actor, VirtualClock, World

STORE_LATENCY_SECONDS = 0.006  # of one call, as of DynamoDB within a region
SESSION = "efficiency"

DURATIONS: dict[str, Callable[[random.Random], float]] = {
    "constant 1 s": lambda _: 1.0,
    "lognormal, mean 1 s": lambda rng: rng.lognormvariate(-0.5, 1.0),
    "1 s, 1% take 10 s": lambda rng: 10.0 if rng.random() < 0.01 else 1.0,
}


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The result of one run.

    Attributes:
        ideal_seconds: makespan of a queue of single tasks without any overhead, begun in the order in which the
            grid began them (in another order, by luck, the longest task may begin sooner or later).
        seconds: makespan of the grid.
        commits: pages written.
    """

    agents: int
    slots: int
    tasks: int
    ideal_seconds: float
    seconds: float
    commits: int

    @property
    def ratio(self) -> float:
        """1 is ideal."""
        return self.ideal_seconds / self.seconds


class LongPolledQueue(SimulatedQueue):
    """As in a cloud, no bell reaches every agent: a message goes to one of those who wait for one."""

    def __init__(self, world: World, rates: FaultRates, jitter_seconds: float) -> None:
        super().__init__(world, rates, jitter_seconds)
        self._waiting: dict[Actor, None] = {}  # those whose last look found nothing, the earliest first

    def send(self, pool: str, hints: Sequence[Hint]) -> None:
        """Queue hints, and wake as many who wait."""
        super().send(pool, hints)
        self._wake(len(hints))

    def receive(self, pool: str, limit: int, now: float) -> Received:
        """Messages, or else be one who waits."""
        received = super().receive(pool, limit, now)
        self._waiting.pop(self._world.current, None)
        if not received.messages:
            self._waiting[self._world.current] = None
        return received

    def extend(self, messages: Sequence[Message], seconds: float) -> None:
        """Hide messages for longer; or show them, and wake as many who wait."""
        super().extend(messages, seconds)
        self._wake(0 if seconds else len(messages))

    def _wake(self, count: int) -> None:
        for actor in list(islice(self._waiting, count)):
            del self._waiting[actor]
            self._world.ring(actor)


class GlancingStore(SqliteStore):
    """Reads the roster of agents once a second for all: a thousand agents would spend the run on reading it."""

    _heard: tuple[float, list[AgentRecord]] = (float("-inf"), [])

    def agents(self, now: float) -> list[AgentRecord]:
        """Agents heard of within one lease time, as of the last second."""
        if now - self._heard[0] >= 1.0:
            self._heard = (now, super().agents(now))
        return self._heard[1]


def ideal(durations: Sequence[float], slots: int) -> float:
    """Makespan if each task, in this order, begins on the slot that is free first."""
    free = [0.0] * slots
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def measure(
    agents: int, slots: int, rounds: int, durations: str, seed: int = 1, expected_agents: int | None = None
) -> Efficiency:
    """Run one session of ``agents * slots * rounds`` tasks.

    Args:
        slots: of each agent.
        durations: a key of DURATIONS.
        expected_agents: what the submitter sizes bundles for, if it is wrong.
    """
    world = World(seed)
    rng = random.Random(seed)
    seconds = [DURATIONS[durations](rng) for _ in range(agents * slots * rounds)]
    rates = FaultRates(0, 0, 0, 0, 0, 0, 0, 0, 0, latency_seconds=STORE_LATENCY_SECONDS)
    database = Database(":memory:")
    store, blobs = GlancingStore(database), MemoryBlobs()
    doorbell = SimulatedDoorbell(world, rates)  # that nobody listens to
    queue = LongPolledQueue(world, rates, jitter_seconds=1e-6)

    def plane(who: str) -> Plane:
        def slow(name: str, port: object) -> Any:
            return FaultyPort(world, rates, name, port, who)

        return Plane(
            store=slow("store", store),
            queue=slow("queue", queue),
            blobs=blobs,
            clock=VirtualClock(world),
            doorbell=doorbell,
            keys=Keyring.of(b""),
            time_slice_seconds=limits.TIME_SLICE_SECONDS,
            rng=random.Random(world.rng.getrandbits(64)),
            token=lambda: f"{world.rng.getrandbits(64):016x}",
        )

    begun: list[float] = []

    def pretend(event: bytes, index: int, attempt: int) -> Pretence:
        begun.append(seconds[index])
        return Pretence(seconds[index])

    def run_agent(number: int) -> None:
        own = plane(f"agent-{number}")
        Agent(own, SimulatedWorkers(slots, own.clock, world.wait, pretend), AgentIdentity(f"agent-{number}")).run()

    for number in range(agents):
        world.spawn(f"agent-{number}", partial(run_agent, number), world.rng.uniform(0, 5))
    world.run(world.now + 400.0)  # until every agent has seen the others, at whom those of a large fleet look rarely
    spec = SessionSpec(function=FunctionSpec(name="simulated.handler"), agents=expected_agents or agents)
    started = world.now
    events = encoded(spec.codec, [0] * len(seconds))
    sent = partial(submit, plane("client"), SESSION, spec, events, total=len(seconds), idempotent=False)
    world.spawn("client", sent)

    def done() -> bool:
        rows = database.connection().execute("SELECT live FROM sessions").fetchall()
        return rows == [(0,)]

    world.history = _Nothing()
    world.run(started + 100 * sum(seconds) / (agents * slots) + 100, done)
    (commits,) = database.connection().execute("SELECT count(*) FROM outcomes").fetchone()
    record = store.session(SESSION, 0.0)
    assert record.counters.completed == len(seconds), f"{record.counters} of {len(seconds)}"
    world.close()
    return Efficiency(agents, slots, len(seconds), ideal(begun, agents * slots), world.now - started, commits)


class _Nothing(list[str]):
    """A history that is not kept."""

    def append(self, line: str) -> None:
        """Forget it."""
