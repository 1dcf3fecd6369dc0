"""Sessions take turns on the slots of one agent, in virtual time."""

from __future__ import annotations

import random
from functools import partial

import pytest

from htcgrid_core.adapters.local.database import Database
from htcgrid_core.adapters.local.queue import TableQueue
from htcgrid_core.adapters.local.store import SqliteStore
from htcgrid_core.agent.agent import Agent
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.submit import submit
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from htcgrid_core.testing.simulator.faults import FaultRates
from htcgrid_core.testing.simulator.planes import MemoryBlobs, SimulatedDoorbell
from htcgrid_core.testing.simulator.world import VirtualClock, World

SLOTS = 2
SLICE_SECONDS = 0.5
LONG, SHORT = 3000, 4


@pytest.mark.parametrize("bundle_size", [1, 16, None])
@pytest.mark.parametrize("seconds", [0.002, 0.02])
@pytest.mark.parametrize("function", ["same", "other"])
def test_a_short_session_gets_slots_beside_a_long_one(bundle_size: int | None, seconds: float, function: str) -> None:
    """Though the long one's pace is known, and its tasks might always queue behind those that run."""
    world = World(1)
    database = Database(":memory:")
    rates = FaultRates(0, 0, 0, 0, 0, 0, 0, 0, 0, latency_seconds=0.0)
    plane = Plane(
        store=SqliteStore(database),
        queue=TableQueue(database),
        blobs=MemoryBlobs(),
        clock=VirtualClock(world),
        doorbell=SimulatedDoorbell(world, rates),
        key=b"",
        time_slice_seconds=SLICE_SECONDS,
        rng=random.Random(1),
        token=lambda: f"{world.rng.getrandbits(64):016x}",
    )
    begun: list[bytes] = []

    def pretend(event: bytes, index: int, attempt: int) -> Pretence:
        begun.append(event)
        return Pretence(seconds)

    def run_agent() -> None:
        Agent(plane, SimulatedWorkers(SLOTS, plane.clock, world.wait, pretend), AgentIdentity("agent")).run()

    def client(name: str, tasks: int, function: str) -> None:
        spec = SessionSpec(function=FunctionSpec(name=function), agents=1, bundle_size=bundle_size)
        submit(plane, name, spec, [name] * tasks, idempotent=False)

    def running() -> int:
        (count,) = database.connection().execute("SELECT count(*) FROM sessions WHERE live = 1").fetchone()
        return int(count)

    world.spawn("agent", run_agent)
    world.spawn("long", partial(client, "long", LONG, "module.handler"))
    world.run(world.now + 1.0)
    before = len(begun)
    assert 0 < before < LONG / 2, "the long session is under way"
    world.spawn("short", partial(client, "short", SHORT, "module.handler" if function == "same" else "other.handler"))
    world.run(world.now + LONG * seconds, lambda: running() == 0)
    world.close()
    last = max(number for number, event in enumerate(begun) if event == b'"short"')
    assert (last - before) * seconds / SLOTS < 4 * SLICE_SECONDS, "each of its two bundles waits for a turn"
