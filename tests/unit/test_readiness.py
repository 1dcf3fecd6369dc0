"""An agent whose grid or workers fail: it asks less and less often, says why, and comes back. In virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.readiness import Readiness
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import AccessDenied, GridError, GridUnavailable, UnknownGrid
from htcgrid_core.ports.plane import Plane
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from tests.faults import watched
from tests.manual_agent import submit
from tests.planes import ManualClock, spec

SESSION = "book-1"
MINUTE = 60.0


class Trouble:
    """A store that fails while it is told to, for chosen calls; counts what is asked of it."""

    def __init__(self) -> None:
        self.error: GridError | None = None
        self.spared: set[str] = set()
        self.asked: Counter[str] = Counter()

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        """Fail, or pass the call on."""
        self.asked[name] += 1
        if self.error is not None and name not in self.spared:
            raise self.error
        return call()


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
def agent(plane: Plane, clock: ManualClock, trouble: Trouble) -> Agent:
    """An agent of a grid with one session of many short tasks, whose store may fail."""
    submit(plane, SESSION, spec(bundle_size=2), range(500), idempotent=False)
    return agent_of(replace(plane, store=watched(plane, trouble.around).store), clock)


def agent_of(plane: Plane, clock: ManualClock) -> Agent:
    """An agent whose tasks take a second each."""

    def block(until: float) -> bool:
        clock.pass_(max(0.0, until - clock.monotonic()))
        return False

    workers = SimulatedWorkers(2, clock, block, lambda *_: Pretence(1.0))
    return Agent(plane, workers, AgentIdentity("agent-1"))


def steps(agent: Agent, clock: ManualClock, seconds: float) -> None:
    """Let the agent work for some virtual time."""
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        agent.step()


def claims(agent: Agent, clock: ManualClock, trouble: Trouble, seconds: float) -> int:
    """How many claims it makes in that time."""
    before = trouble.asked["claim"]
    steps(agent, clock, seconds)
    return trouble.asked["claim"] - before


def done(plane: Plane, clock: ManualClock) -> int:
    """Tasks that have ended."""
    return plane.store.session(SESSION, clock.now()).counters.completed


@pytest.mark.parametrize("error", [GridUnavailable("throttled"), UnknownGrid("no table"), AccessDenied("expired")])
def test_a_grid_that_fails_is_asked_less_and_less_often(
    agent: Agent, plane: Plane, clock: ManualClock, trouble: Trouble, error: GridError
) -> None:
    well = claims(agent, clock, trouble, MINUTE)
    assert not agent.readiness.unready()

    trouble.error = error
    first, second, third = (claims(agent, clock, trouble, 5 * MINUTE) for _ in range(3))
    assert first <= well  # five minutes of trouble cost no more than a minute of work
    assert second < first
    assert third <= second
    assert agent.readiness.grid_is_open
    assert str(error) in agent.readiness.unready()

    trouble.error = None
    before = done(plane, clock)
    steps(agent, clock, limits.BREAKER_COOLDOWN_CAP_SECONDS)
    assert not agent.readiness.unready()
    assert done(plane, clock) > before


def test_heartbeats_that_get_through_do_not_close_the_breaker(
    agent: Agent, clock: ManualClock, trouble: Trouble
) -> None:
    """A hot partition refuses claims while the agent's own row is written well."""
    well = claims(agent, clock, trouble, 5 * MINUTE)
    trouble.error, trouble.spared = GridUnavailable("throttled"), {"beat", "agents", "renew"}
    claims(agent, clock, trouble, MINUTE)
    assert claims(agent, clock, trouble, 5 * MINUTE) < well / 2
    trouble.error = None
    steps(agent, clock, 2 * limits.HEARTBEAT_SECONDS)
    assert not agent.readiness.unready()  # the first heartbeat after the trouble lets it try


def test_a_grid_that_fails_once_in_a_while_opens_nothing(agent: Agent, clock: ManualClock, trouble: Trouble) -> None:
    steps(agent, clock, MINUTE)
    for _ in range(20):
        trouble.error = GridUnavailable("a moment")
        agent.step()
        trouble.error = None
        steps(agent, clock, 10.0)
        assert not agent.readiness.grid_is_open


def test_workers_that_run_do_not_hide_a_grid_that_fails(clock: ManualClock) -> None:
    readiness = Readiness(clock)
    for _ in range(limits.BREAKER_THRESHOLD):
        readiness.grid_failed(GridUnavailable("throttled"))
        readiness.worker_answered()
    assert readiness.grid_is_open
    assert not readiness.workers_are_open


def test_why_an_agent_is_not_ready(clock: ManualClock) -> None:
    readiness = Readiness(clock)
    assert readiness.unready() == "its first heartbeat is not through yet"
    readiness.heartbeat_answered()
    assert readiness.unready() == ""
    for _ in range(limits.BREAKER_THRESHOLD):
        readiness.worker_failed("no memory")
    assert readiness.unready() == "workers cannot start: no memory"
    readiness.worker_answered()
    assert readiness.unready() == ""
    readiness.draining = True
    assert readiness.unready() == "it is draining"
    assert not readiness.may_claim


def test_a_loop_that_makes_no_turn_is_stuck(clock: ManualClock) -> None:
    readiness = Readiness(clock)
    clock.pass_(100.0)
    assert readiness.stuck_seconds() == 100.0
    readiness.begin_iteration()
    assert readiness.stuck_seconds() == 0.0


def test_blobs_that_cannot_be_fetched_cost_no_task(plane: Plane, clock: ManualClock, trouble: Trouble) -> None:
    """Claimed bundles go back at once: leases that lapse would count as dead agents, and the third fails its tasks."""
    submit(replace(plane, inline_payload_bytes=1), SESSION, spec(bundle_size=2), range(40), idempotent=False)
    store, blobs = plane.store, watched(plane, trouble.around).blobs
    agent = agent_of(replace(plane, blobs=blobs), clock)
    trouble.error = GridUnavailable("no blobs")
    steps(agent, clock, 10 * MINUTE)
    assert agent.leases == 0
    bundles = store.open_bundles(SESSION, "", 1000)
    assert {found.bundle.crashes for found in bundles} == {0}
    assert sum(len(found.bundle.indexes) for found in bundles) == 40
    trouble.error = None
    steps(agent, clock, 5 * MINUTE)
    counters = store.session(SESSION, clock.now()).counters
    assert (counters.completed, counters.failed) == (40, 0)


def test_blobs_that_cannot_be_fetched_open_the_breaker(plane: Plane, clock: ManualClock, trouble: Trouble) -> None:
    submit(replace(plane, inline_payload_bytes=1), SESSION, spec(bundle_size=2), range(400), idempotent=False)
    ports = watched(plane, trouble.around)
    agent = agent_of(replace(plane, blobs=ports.blobs, store=ports.store), clock)
    trouble.error, trouble.spared = GridUnavailable("no blobs"), set(dir(plane.store))
    counts = [claims(agent, clock, trouble, MINUTE) for _ in range(5)]
    assert max(counts) <= 60 / limits.HEARTBEAT_SECONDS + limits.BREAKER_THRESHOLD  # a probe each heartbeat


def test_a_heartbeat_lets_one_claim_try(clock: ManualClock) -> None:
    """The grid is back as soon as a heartbeat gets through; a claim that fails then shuts it off again at once."""
    readiness = Readiness(clock)
    for _ in range(2 * limits.BREAKER_THRESHOLD):
        readiness.grid_failed(GridUnavailable("throttled"))
    assert readiness.grid_is_open
    readiness.heartbeat_answered()
    assert readiness.may_claim
    readiness.grid_failed(GridUnavailable("throttled"))
    assert readiness.grid_is_open
