"""Grids in memory as regions, which a test can take down."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from htcgrid_core.adapters.local.clock import SystemClock
from htcgrid_core.client.grid import Grid
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.regions.asking import Asking, in_turn
from htcgrid_core.gateway.regions.gateway import RegionalGateway
from htcgrid_core.gateway.regions.region import Region
from htcgrid_core.ports.clock import Clock
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane
from tests.manual_agent import finish
from tests.planes import ManualClock, StillDeployment, memory_plane

WEST, EAST, SOUTH = "eu-west-1", "us-east-1", "ap-south-1"
PORTS = ("store", "queue", "blobs", "outbox", "audit")


@dataclass
class Outage:
    """Whether a region answers.

    Attributes:
        calls: of any of its ports, those that were refused included.
        after: so many more calls are answered before it goes down by itself.
    """

    is_down: bool = False
    calls: int = 0
    after: int | None = None

    def check(self) -> None:
        """Refuse a call while the region is down."""
        self.calls += 1
        if self.after is not None:
            self.is_down = self.is_down or self.after <= 0
            self.after -= 1
        if self.is_down:
            raise GridUnavailable("nobody answers")


class _Port:
    """A port that fails with its region."""

    def __init__(self, port: Any, outage: Outage) -> None:
        self._port = port
        self._outage = outage

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._outage.check()
            return found(*args, **kwargs)

        return call


@dataclass
class Place:
    """One region of a test: its planes, and whether they answer."""

    name: str
    plane: Plane
    behind: Plane  # the same, whatever the outage
    outage: Outage
    pools: tuple[str, ...] = ("default", "large")
    agents: int = 1
    opened: int = 0
    deployment: StillDeployment = field(init=False)

    def __post_init__(self) -> None:
        self.deployment = StillDeployment(
            self.plane, f"aws://test?region={self.name}", False, self.pools, agents=self.agents
        )

    def open(self) -> InProcessGateway:
        """As a client connects to it."""
        self.opened += 1
        self.outage.check()
        self.deployment.pools = self.pools
        return InProcessGateway(self.deployment, actor="tester")

    def work(self, call: Callable[[Any], Any] = lambda event: event) -> None:
        """Do what waits here."""
        finish(self.behind, call)


def place(name: str, folder: Path, clock: Clock | None = None) -> Place:
    """A region whose keys are its own."""
    made = memory_plane(folder / name)
    key = Keyring.of(name.encode().ljust(32, b"-"))
    behind = replace(made, clock=clock or SystemClock(), keys=key, identity=f"test:{name}", region=name)
    outage = Outage()
    ports: dict[str, Any] = {port: _Port(getattr(behind, port), outage) for port in PORTS}
    return Place(name, replace(behind, **ports), behind, outage)


@dataclass
class World:
    """Regions, and the one grid that they are."""

    places: dict[str, Place]
    clock: ManualClock
    gateway: RegionalGateway
    grid: Grid

    def __getitem__(self, name: str) -> Place:
        return self.places[name]

    def pass_(self, seconds: float) -> None:
        """Let the client's time pass: what it knows of the regions grows old."""
        self.clock.pass_(seconds)

    def down(self, name: str) -> None:
        """A region does not answer any more."""
        self.places[name].outage.is_down = True

    def up(self, name: str) -> None:
        """It does again; and the client's patience with it is over."""
        self.places[name].outage.is_down = False
        self.clock.pass_(120.0)

    def work(self, call: Callable[[Any], Any] = lambda event: event) -> None:
        """Do what waits, in all regions."""
        for one in self.places.values():
            one.work(call)

    def client(
        self, weights: dict[str, float] | None = None, lost: Sequence[str] = (), seed: int = 1, ask: Asking = in_turn
    ) -> Grid:
        """Another client of the same regions, which knows nothing yet."""
        return Grid(_gateway(self.places, self.clock, weights, lost, seed, ask))


def _gateway(
    places: dict[str, Place],
    clock: ManualClock,
    weights: dict[str, float] | None,
    lost: Sequence[str],
    seed: int,
    ask: Asking,
) -> RegionalGateway:
    regions = [
        Region(
            name,
            places[name].open,
            weight=(weights or {}).get(name, 1.0),
            is_lost=name in lost,
            monotonic=clock.monotonic,
        )
        for name in (weights or places)
    ]
    url = f"aws://test?regions={','.join(weights or places)}"
    return RegionalGateway(url, regions, ask=ask, rng=random.Random(seed), monotonic=clock.monotonic)


def world(
    folder: Path, names: Sequence[str] = (WEST, EAST), weights: dict[str, float] | None = None, ask: Asking = in_turn
) -> World:
    """Fresh regions and their grid."""
    clock = ManualClock()
    places = {name: place(name, folder, ManualClock()) for name in names}
    gateway = _gateway(places, clock, weights, (), 1, ask)
    return World(places, clock, gateway, Grid(gateway))
