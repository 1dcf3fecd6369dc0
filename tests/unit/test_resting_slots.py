"""Workers that cannot start leave no task unrun while others stand, and their slots are tried again."""

from __future__ import annotations

from typing import Any

from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.domain import limits
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.worker import Chunk, StartFailed, WorkerEvent
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from tests.manual_agent import submit
from tests.planes import ManualClock, spec

SESSION = "book-1"


class FewWorkers(SimulatedWorkers):
    """Of whose slots only the first can have a worker for now."""

    short = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.failed: list[WorkerEvent] = []
        self.ran: set[int] = set()

    def run(self, slot: int, chunk: Chunk) -> None:
        if self.short and slot > 0:
            self.failed.append(StartFailed(slot, chunk.serial, "too many open files"))
        else:
            self.ran.add(slot)
            super().run(slot, chunk)

    def wait(self, timeout_seconds: float) -> list[WorkerEvent]:
        if self.failed:
            failed, self.failed = self.failed, []
            return failed
        return super().wait(timeout_seconds)


def test_the_others_do_all_the_work(plane: Plane, clock: ManualClock) -> None:
    submit(plane, SESSION, spec(bundle_size=1), range(40), idempotent=False)

    def block(until: float) -> bool:
        clock.pass_(max(0.0, until - clock.monotonic()))
        return False

    workers = FewWorkers(4, clock, block, lambda *_: Pretence(0.1))
    agent = Agent(plane, workers, AgentIdentity("agent-1"))
    told = set()
    began = clock.monotonic()
    while plane.store.session(SESSION, clock.now()).counters.completed < 40:
        agent.step()
        told.add(agent.readiness.complaint())
        assert clock.monotonic() < began + 120.0
        assert not agent.readiness.workers_are_open
    assert "too many open files" in told

    workers.short = False
    clock.pass_(limits.WORKER_REST_SECONDS)
    submit(plane, "book-2", spec(bundle_size=1), range(40), idempotent=False)
    while plane.store.session("book-2", clock.now()).counters.completed < 40:
        agent.step()
    assert workers.ran == {0, 1, 2, 3}
