"""Bundles whose agents die come back as single tasks, each of which still has its own turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.domain import limits
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from tests.manual_agent import submit, take
from tests.planes import ManualClock, spec

SESSION, TASKS = "book-1", 20


def _block(clock: ManualClock) -> Callable[[float], bool]:
    def block(until: float) -> bool:
        clock.pass_(max(0.0, until - clock.monotonic()))
        return False

    return block


@pytest.mark.parametrize("deaths", range(limits.CRASH_LIMIT + 3))
def test_agents_that_died_before_they_could_isolate_cost_no_task(plane: Plane, clock: ManualClock, deaths: int) -> None:
    submit(plane, SESSION, spec(bundle_size=TASKS), range(TASKS), idempotent=False)
    for number in range(deaths):
        assert take(plane, Hint(SESSION, root_id(0)), f"agent-{number}") is not None
        clock.pass_(limits.LEASE_SECONDS + 1.0)
    ran: list[int] = []

    def pretend(event: bytes, index: int, attempt: int) -> Pretence:
        ran.append(index)
        assert attempt == deaths + 1
        return Pretence(0.1)

    agent = Agent(plane, SimulatedWorkers(2, clock, _block(clock), pretend), AgentIdentity("agent-last"))
    began = clock.monotonic()
    while not plane.store.session(SESSION, clock.now()).ended:
        agent.step()
        assert clock.monotonic() < began + 600.0
    counters = plane.store.session(SESSION, clock.now()).counters
    assert (counters.completed, counters.failed, sorted(ran)) == (TASKS, 0, list(range(TASKS)))


def test_a_task_alone_whose_agents_die_is_given_up(plane: Plane, clock: ManualClock) -> None:
    submit(plane, SESSION, spec(bundle_size=1), range(1), idempotent=False)
    for number in range(limits.CRASH_LIMIT):
        assert take(plane, Hint(SESSION, root_id(0)), f"agent-{number}") is not None
        clock.pass_(limits.LEASE_SECONDS + 1.0)
    workers = SimulatedWorkers(1, clock, _block(clock), lambda *_: Pretence(0.1))
    agent = Agent(plane, workers, AgentIdentity("agent-last"))
    while not plane.store.session(SESSION, clock.now()).ended:
        agent.step()
    assert plane.store.session(SESSION, clock.now()).counters.failed == 1
