"""Fair share: sessions on the slots of one agent, in virtual time."""

from __future__ import annotations

import random
from functools import partial

import pytest

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.queue import TableQueue
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import DEFAULT_TENANT, SessionSpec, within_tenant
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from htcgrid_core.testing.simulator.faults import FaultRates
from htcgrid_core.testing.simulator.planes import MemoryBlobs, SimulatedDoorbell
from htcgrid_core.testing.simulator.world import VirtualClock, World
from tests.manual_agent import submit

SLOTS = 2
SLICE_SECONDS = 0.5
LONG, SHORT = 3000, 4
MANY, TASKS = 8, 256  # sessions of the tenant that has many


class FairShareGrid:
    """One agent on the local queue, in virtual time; ``begun`` are the events of its tasks in the order they began."""

    def __init__(self, seconds: float) -> None:
        self.world = World(1)
        self.begun: list[bytes] = []
        self._database = Database(":memory:")
        self._seconds = seconds
        rates = FaultRates(0, 0, 0, 0, 0, 0, 0, 0, 0, latency_seconds=0.0)
        self.plane = Plane(
            store=SqliteStore(self._database),
            queue=TableQueue(self._database),
            blobs=MemoryBlobs(),
            clock=VirtualClock(self.world),
            doorbell=SimulatedDoorbell(self.world, rates),
            keys=Keyring.of(b""),
            time_slice_seconds=SLICE_SECONDS,
            rng=random.Random(1),
            token=lambda: f"{self.world.rng.getrandbits(64):016x}",
        )
        self.world.spawn("agent", self._run_agent)

    def live(self) -> int:
        """Sessions that have not ended."""
        (count,) = self._database.connection().execute("SELECT count(*) FROM sessions WHERE live = 1").fetchone()
        return int(count)

    def _run_agent(self) -> None:
        clock = self.plane.clock
        Agent(self.plane, SimulatedWorkers(SLOTS, clock, self.world.wait, self._pretend), AgentIdentity("agent")).run()

    def _pretend(self, event: bytes, index: int, attempt: int) -> Pretence:
        self.begun.append(event)
        return Pretence(self._seconds)


@pytest.mark.parametrize("bundle_size", [1, 16, None])
@pytest.mark.parametrize("seconds", [0.002, 0.02])
@pytest.mark.parametrize("function", ["same", "other"])
def test_a_short_session_gets_slots_beside_a_long_one(bundle_size: int | None, seconds: float, function: str) -> None:
    """Though the long one's pace is known, and its tasks might always queue behind those that run."""
    grid = FairShareGrid(seconds)

    def client(name: str, tasks: int, function: str) -> None:
        spec = SessionSpec(function=FunctionSpec(name=function), agents=1, bundle_size=bundle_size)
        submit(grid.plane, name, spec, [name] * tasks, idempotent=False)

    world, begun = grid.world, grid.begun
    world.spawn("long", partial(client, "long", LONG, "module.handler"))
    world.run(world.now + 1.0)
    before = len(begun)
    assert 0 < before < LONG / 2, "the long session is under way"
    world.spawn("short", partial(client, "short", SHORT, "module.handler" if function == "same" else "other.handler"))
    world.run(world.now + LONG * seconds, lambda: grid.live() == 0)
    world.close()
    last = max(number for number, event in enumerate(begun) if event == b'"short"')
    assert (last - before) * seconds / SLOTS < 4 * SLICE_SECONDS, "each of its two bundles waits for a slice"


@pytest.mark.parametrize("bundle_size", [4, 64])
@pytest.mark.parametrize("tenants", [False, True], ids=["no tenants", "tenants"])
def test_a_tenant_with_many_sessions_has_the_share_of_one(bundle_size: int, tenants: bool) -> None:
    """Another tenant's one session gets its share beside them: without tenants a ninth, with them at least a fifth."""
    grid = FairShareGrid(0.02)

    def client(tenant: str, number: int) -> None:
        named = tenant if tenants else DEFAULT_TENANT
        spec = SessionSpec(function=FunctionSpec(name="a.b"), agents=1, bundle_size=bundle_size, tenant=named)
        submit(grid.plane, within_tenant(named, f"s-{tenant}-{number}"), spec, [tenant] * TASKS, idempotent=False)

    world = grid.world
    for number in range(MANY):
        world.spawn(f"many-{number}", partial(client, "many", number))
    world.run(world.now + 1.0)
    before = len(grid.begun)
    world.spawn("one", partial(client, "one", 0))
    world.run(world.now + MANY * TASKS * 0.02, lambda: grid.begun.count(b'"one"') == TASKS)
    world.close()
    since = grid.begun[before:]
    share = since.count(b'"one"') / len(since)
    assert share > 0.2 if tenants else share < 0.15
