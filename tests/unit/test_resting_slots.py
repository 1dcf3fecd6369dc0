"""Workers that cannot start leave no task unrun while others stand, and their slots are tried again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.domain import limits
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.worker import Chunk, StartFailed, Waits, WorkerEvent
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


def _block(clock: ManualClock) -> Callable[[float], bool]:
    def block(until: float) -> bool:
        clock.pass_(max(0.0, until - clock.monotonic()))
        return False

    return block


def test_the_others_do_all_the_work(plane: Plane, clock: ManualClock) -> None:
    submit(plane, SESSION, spec(bundle_size=1), range(40), idempotent=False)

    workers = FewWorkers(4, clock, _block(clock), lambda *_: Pretence(0.1))
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


class LendingWorkers(FewWorkers):
    """Whose first slot's first task waits for a session, until long after; what is lent cannot start for now."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._queued += [deque() for _ in range(self.slots)]
        self._starts += [0] * self.slots
        self.tried: list[int] = []

    def run(self, slot: int, chunk: Chunk) -> None:
        self.tried.append(slot)
        super().run(slot, chunk)
        if len(self.tried) == 1:
            self.failed.append(Waits(slot, chunk.serial, 0, ("inner",)))


@pytest.mark.parametrize("slots", [1, 3])
def test_a_lent_slot_rests_and_is_lent_again(plane: Plane, clock: ManualClock, slots: int) -> None:
    submit(plane, "outer", spec(bundle_size=1), range(1), idempotent=False)
    workers = LendingWorkers(slots, clock, _block(clock), lambda event, *_: Pretence(1e3 if event == b"0" else 0.1))
    agent = Agent(plane, workers, AgentIdentity("agent-1"))
    while not workers.tried:
        agent.step()
    submit(plane, "other", spec(bundle_size=1), range(1, 5), idempotent=False)
    submit(plane, "inner", spec(bundle_size=1), range(1, 5), idempotent=False)
    began = clock.monotonic()
    all_waited = set()
    while clock.monotonic() < began + 3 * limits.WORKER_REST_SECONDS:
        agent.step()
        assert not agent.readiness.workers_are_open
        all_waited.add(agent._slots.all_wait)
    assert True in all_waited  # one waits, and the others rest
    assert 3 <= workers.tried.count(slots) <= 5  # it is tried now and then, and not again and again
    assert agent.readiness.complaint() == "too many open files"
    assert plane.store.session("inner", clock.now()).counters.completed == 0

    workers.short = False
    while plane.store.session("inner", clock.now()).counters.completed < 4:
        agent.step()
        assert clock.monotonic() < began + 5 * limits.WORKER_REST_SECONDS
    assert plane.store.session("outer", clock.now()).counters.completed == 0
    if slots == 1:  # what is lent is for nobody else
        assert plane.store.session("other", clock.now()).counters.completed == 0


def test_a_session_that_nobody_can_run_ends_with_the_reason(plane: Plane, clock: ManualClock) -> None:
    submit(plane, SESSION, spec(bundle_size=1), range(40), idempotent=False)
    workers = NoWorkers(2, clock, _block(clock), lambda *_: Pretence(0.1))
    agent = Agent(plane, workers, AgentIdentity("agent-1"))
    began = clock.monotonic()
    while not (session := plane.store.session(SESSION, clock.now())).reason:
        agent.step()
        assert clock.monotonic() < began + 2 * limits.PATIENCE_SECONDS
    assert clock.monotonic() >= began + limits.PATIENCE_SECONDS
    assert session.state in ("CANCELLING", "CANCELLED")
    assert "no other agent: too many open files" in session.reason


def test_what_tasks_wait_for_ends_with_the_reason_if_no_worker_can_be_lent(plane: Plane, clock: ManualClock) -> None:
    """Or they would wait for ever, and so would whoever waits for them."""
    submit(plane, "outer", spec(bundle_size=1), range(1), idempotent=False)
    workers = LendingWorkers(1, clock, _block(clock), lambda event, *_: Pretence(1e6 if event == b"0" else 0.1))
    agent = Agent(plane, workers, AgentIdentity("agent-1"))
    while not workers.tried:
        agent.step()
    for session_id in ("inner", "other"):
        submit(plane, session_id, spec(bundle_size=1), range(1, 5), idempotent=False)
    began = clock.monotonic()
    while not (session := plane.store.session("inner", clock.now())).reason:
        agent.step()
        assert clock.monotonic() < began + 2 * limits.PATIENCE_SECONDS
    assert clock.monotonic() >= began + limits.PATIENCE_SECONDS
    assert session.state in ("CANCELLING", "CANCELLED")
    assert "no worker could start for" in session.reason
    assert "too many open files" in session.reason
    assert not any(plane.store.session(session_id, clock.now()).reason for session_id in ("outer", "other"))


class NoWorkers(FewWorkers):
    """None can start."""

    def run(self, slot: int, chunk: Chunk) -> None:
        self.failed.append(StartFailed(slot, chunk.serial, "too many open files"))
