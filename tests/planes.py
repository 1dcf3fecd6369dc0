"""Planes for tests that need no agents: the real local adapters in memory, and a clock that only tests move."""

from __future__ import annotations

import itertools
import random
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from htcgrid_core.adapters.local.blobs import FileBlobs
from htcgrid_core.adapters.local.doorbell import FifoDoorbell
from htcgrid_core.adapters.local.sqlite.audit_log import SqliteAuditLog
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.outbox import SqliteOutbox
from htcgrid_core.adapters.local.sqlite.queue import TableQueue
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.client.grid import Grid
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.ports.doorbell import Bell
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane

KEY = b"k" * 32
NOW = 1_800_000_000.0


@dataclass
class ManualClock:
    """A clock that stands still but for ``sleep`` and ``pass_``."""

    wall: float = NOW
    mono: float = 1000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def sleep(self, seconds: float) -> None:
        self.pass_(max(0.0, seconds))

    def pass_(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall += seconds
        self.mono += seconds


def told_agent(agent_id: str, now: float) -> AgentRecord:
    """What an agent tells that has begun just now, where no agent runs."""
    memory = 1 << 20 if sys.platform == "linux" else None
    agent = AgentRecord(agent_id, "default", "host", 1, 4, 0, now, started_at=now)
    return replace(agent, memory_bytes=memory, memory_limit_bytes=1 << 30)


def memory_plane(folder: Path, *, database: Path | str = ":memory:", clock: ManualClock | None = None) -> Plane:
    """A plane whose tables are in memory, and whose blobs and bells are in ``folder``."""
    opened = Database(database)
    numbers = itertools.count(1)
    return Plane(
        store=SqliteStore(opened),
        queue=TableQueue(opened),
        blobs=FileBlobs(folder / "blobs", DiskCache(folder / "unpacked", 1 << 30)),
        clock=clock or ManualClock(),
        doorbell=FifoDoorbell(folder / "bells"),
        keys=Keyring.of(KEY),
        time_slice_seconds=limits.LOCAL_TIME_SLICE_SECONDS,
        rng=random.Random(7),
        token=lambda: f"token-{next(numbers)}",
        outbox=SqliteOutbox(opened),
        audit=SqliteAuditLog(opened),
    )


@dataclass
class StillDeployment:
    """What the client needs of a grid whose agents are the test itself."""

    plane: Plane
    url: str = "local:///tests"
    same_machine: bool = True
    pools: tuple[str, ...] = ("default", "large")
    sizes: tuple[PoolSize, ...] = ()
    agents: int = 1
    woken: int = 0
    bells: list[Bell] = field(default_factory=list)

    def wake(self) -> None:
        self.woken += 1

    def reachable_agents(self) -> int:
        return self.agents

    def check_destination(self, destination: Destination) -> None:
        return

    def borrow_bell(self) -> Bell:
        return self.plane.doorbell.listen("commits")

    def return_bell(self, bell: Bell) -> None:
        bell.close()

    def close(self) -> None:
        return


def still_grid(plane: Plane) -> Grid:
    """A grid whose agents are the test itself."""
    return Grid(InProcessGateway(StillDeployment(plane), actor="tester"))


def gateway_of(grid: Grid) -> InProcessGateway:
    """What a grid on this machine, or on AWS, does its work with."""
    assert isinstance(grid.gateway, InProcessGateway)
    return grid.gateway


def plane_of(grid: Grid) -> Plane:
    """A grid's planes, which no user sees."""
    plane: Plane = grid.gateway.plane  # type: ignore[attr-defined]  # of a grid here, or one that is served in a test
    return plane


def spec(**options: object) -> SessionSpec:
    """A spec with these options."""
    return SessionSpec.model_validate({"function": FunctionSpec(name="pricing.handler"), **options})
