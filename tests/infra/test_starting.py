"""Thousands of agents that start at once, in virtual time, on SSM's and STS's rates.

Each reads as ``open_cloud`` does, with botocore's own tries and pauses, from a service that answers so many calls a
second, some at once, and refuses the others.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cache, partial
from random import Random

import pytest

from htcgrid_core.adapters.aws.clients import TRIES
from htcgrid_core.cloud import starting
from htcgrid_core.cloud.starting import PatientReading, Reading, once
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.testing.simulator.world import World
from tests.infra.calls import SSM_CALLS_OF_A_START

AGENTS = 3125
CALL_SECONDS = 0.02
BOTOCORE_LONGEST_SECONDS = 20.0  # pauses of its mode "standard": at random up to twice as long each time
RESTART_SECONDS, RESTART_LONGEST_SECONDS = 10.0, 300.0  # of Kubernetes, for a container that ends again and again


@dataclass
class Service:
    """One that answers so many calls a second of the whole account, and as many at once after a second of rest."""

    world: World
    rate: float
    tokens: float = field(init=False)
    filled_at: float = field(init=False)
    answered: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self.tokens, self.filled_at = self.rate, self.world.now

    def calls(self, count: int, tries: int) -> None:
        """So many, one after another."""
        for _ in range(count):
            self._call(tries)

    def _call(self, tries: int) -> None:
        """As botocore makes it.

        Raises:
            GridUnavailable: refused at each try.
        """
        for attempt in range(tries):
            self.world.pause(CALL_SECONDS)
            self.tokens = min(self.rate, self.tokens + (self.world.now - self.filled_at) * self.rate)
            self.filled_at = self.world.now
            if self.tokens >= 1:
                self.tokens -= 1
                self.answered += 1
                return
            self.refused += 1
            if attempt + 1 < tries:
                self.world.pause(self.world.rng.uniform(0.0, min(BOTOCORE_LONGEST_SECONDS, 2.0**attempt)))
        raise GridUnavailable("throttled")


@dataclass
class WorldClock:
    """A clock of virtual time."""

    world: World

    def now(self) -> float:
        return self.world.now

    def monotonic(self) -> float:
        return self.world.now

    def sleep(self, seconds: float) -> None:
        self.world.pause(seconds)


@dataclass
class Starting:
    """How they came.

    Attributes:
        at: seconds at which each served.
        restarts: containers that ended, and were started again.
    """

    at: list[float] = field(default_factory=list)
    restarts: int = 0


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Each try is a line of some agent's log."""
    caplog.set_level(logging.ERROR, starting.__name__)


@cache
def start(rate: float, *, patient: bool, seconds: float = 3600.0) -> Starting:
    """All at the same moment; what is there after so many seconds."""
    world = World(7)
    service, found, began = Service(world, rate), Starting(), world.now
    tries = TRIES["ssm"]

    def container() -> None:
        rng, restarts = Random(world.rng.random()), 0
        while True:
            reading: Reading = PatientReading(WorldClock(world), rng) if patient else once
            try:
                reading(partial(service.calls, 1, tries))
                reading(partial(service.calls, SSM_CALLS_OF_A_START - 1, tries))
            except GridUnavailable:
                found.restarts += 1
                world.pause(min(RESTART_LONGEST_SECONDS, RESTART_SECONDS * 2.0**restarts))
                restarts += 1
                continue
            found.at.append(world.now - began)
            return

    for number in range(AGENTS):
        world.spawn(f"agent-{number}", container)
    world.run(began + seconds)
    return found


def test_the_default_rate_of_ssm() -> None:
    """All serve, none is started again, and it takes less than twice as long as the calls do at that rate."""
    found, least = start(40.0, patient=True), AGENTS * SSM_CALLS_OF_A_START / 40.0
    print(f"40/s, {least:.0f} s of calls: last after {max(found.at):.0f} s, {found.restarts} restarts")
    assert len(found.at) == AGENTS
    assert found.restarts == 0
    assert max(found.at) <= 2 * least


def test_without_patience_containers_end() -> None:
    """And come again with all their calls before them: ten minutes later most do not serve."""
    found = start(40.0, patient=False, seconds=600.0)
    print(f"without patience: {len(found.at)} serve after 600 s, {found.restarts} restarts")
    assert len(found.at) < AGENTS / 2
    assert found.restarts > AGENTS


@pytest.mark.parametrize("rate", [100.0, 500.0])  # of SSM by path, with higher throughput; of STS
def test_higher_rates(rate: float) -> None:
    found = start(rate, patient=True)
    print(f"{rate:.0f}/s: last after {max(found.at):.0f} s, {found.restarts} restarts")
    assert len(found.at) == AGENTS
    assert found.restarts == 0


def test_the_chart_waits_for_it() -> None:
    """A container that looks for its grid is not ended for being slow."""
    from tests.infra.test_chart import CHART, of_kind, rendered

    (deployment,) = of_kind(rendered(CHART / "ci" / "minimal.yaml"), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > limits.START_PATIENCE_SECONDS
