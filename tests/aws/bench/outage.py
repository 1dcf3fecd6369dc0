"""Two regions in virtual time, one of which fails in the middle: what is lost, where new sessions go, what binds."""

from __future__ import annotations

import contextlib
import gc
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.codecs.events import encoded
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.regions.asking import in_turn
from htcgrid_core.gateway.regions.gateway import RegionalGateway
from htcgrid_core.gateway.regions.names import region_of
from htcgrid_core.gateway.regions.region import Region
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.testing.simulated_workers import Pretence
from htcgrid_core.testing.simulator.efficiency import _Nothing
from htcgrid_core.testing.simulator.world import VirtualClock, World
from tests.aws.bench.model import IN_FLIGHT, READS_A_SECOND, WRITES_A_SECOND
from tests.aws.bench.rows import Row
from tests.aws.bench.scale import JOIN_SECONDS, SLOTS, SPREAD, ModelledGrid
from tests.planes import StillDeployment

FAILS, STAYS = "eu-west-1", "us-east-1"
SILENCE_SECONDS = 2.0  # until a call of a region that is down is given up
AGAIN_SECONDS = 1.0  # after which a client tries again what was refused
LOOK_SECONDS = 2.0
RECONCILE_SECONDS = 60.0  # as docs/aws.md schedules it
PORTS = ("store", "queue", "blobs")


@dataclass(frozen=True, slots=True)
class Outage:
    """What is simulated. Sessions come evenly, as many as keep all slots busy.

    Attributes:
        agents: in both regions together.
        session_tasks: tasks of one session.
        tokens: of so many sessions one has a token.
        begins, ends: of the outage (s), from the first session on.
        seconds: for which sessions come.
    """

    agents: int
    task_seconds: float
    session_tasks: int
    tokens: int
    begins: float
    ends: float
    seconds: float
    clients: int = 8

    @property
    def slots(self) -> int:
        """In both regions."""
        return self.agents * SLOTS

    @property
    def tasks_a_second(self) -> float:
        """That come."""
        return self.slots / self.task_seconds

    @property
    def sessions(self) -> int:
        """That come in all."""
        return max(1, int(self.tasks_a_second * self.seconds / self.session_tasks))

    def __str__(self) -> str:
        """Say it for people."""
        return (
            f"{self.slots:,} slots in two regions, {self.tasks_a_second:,.0f} tasks/s; {FAILS} is away from "
            f"{self.begins:.0f} s to {self.ends:.0f} s"
        )


SMALL = Outage(4, 2.0, 32, 4, begins=8.0, ends=28.0, seconds=32.0, clients=4)


@dataclass
class Submission:
    """One session of a client.

    Attributes:
        due: when it was to be submitted, and when it was.
        refused: how often it was not.
    """

    number: int
    token: str | None
    due: float
    session_id: str = ""
    acknowledged: float = 0.0
    refused: int = 0


@dataclass
class Busiest:
    """Of one region in one part of the run, in shares of what there is: slots, and what AWS gives a key or queue."""

    slots: float = 0.0
    writes: float = 0.0
    reads: float = 0.0
    in_flight: float = 0.0

    @property
    def first(self) -> tuple[str, float]:
        """What is nearest to its end."""
        shares = {
            "slots": self.slots,
            "write units of one key": self.writes,
            "read units of one key": self.reads,
            "messages in flight": self.in_flight,
        }
        return max(shares.items(), key=lambda pair: pair[1])


@dataclass
class Found:
    """What came of it.

    Attributes:
        lost: acknowledged sessions that did not complete every task.
        started: when the first session was due, in virtual time.
        orphans: sessions that nobody was told of, since the region failed as they were submitted, and which ran.
        rates: tasks that ended a second: before the outage, in it, after it, and until the last one.
        busiest: what the region that stays was short of, in the outage.
    """

    outage: Outage
    submissions: list[Submission]
    lost: int
    orphans: int
    tasks_twice: int
    rates: dict[str, float]
    seconds: float
    started: float = 0.0
    busiest: dict[str, Busiest] = field(default_factory=dict)
    throttled: int = 0

    def placed(self, since: float, until: float) -> Counter[str | None]:
        """Sessions acknowledged in a time, by their regions."""
        return Counter(
            region_of(each.session_id, (FAILS, STAYS))
            for each in self.submissions
            if since <= each.acknowledged < until
        )


class _Port:
    """A port of a region: while it is down nothing is answered, and what was under way may have been done."""

    def __init__(self, port: Any, name: str, run: TwoRegions) -> None:
        self._port, self._name, self._run = port, name, run

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._port, method)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._run.check(self._name)
            answer = found(*args, **kwargs)
            self._run.check(self._name)
            return answer

        return call


class TwoRegions:
    """One run."""

    def __init__(self, outage: Outage, seed: int = 1) -> None:
        self.outage = outage
        self.world = World(seed)
        self.world.history = _Nothing()
        self.grids = {name: ModelledGrid(self.world) for name in (FAILS, STAYS)}
        self._rng = random.Random(seed)
        self._started = float("inf")
        self._begun: dict[str, list[tuple[float, float]]] = {name: [] for name in self.grids}
        self._runs: dict[str, Counter[tuple[bytes, int]]] = {name: Counter() for name in self.grids}
        self._left = outage.clients
        self.submissions = [
            Submission(number, f"step-{number}" if number % outage.tokens == 0 else None, 0.0)
            for number in range(outage.sessions)
        ]

    def check(self, region: str) -> None:
        """Nobody answers while the region is down; who asks waits for a while until he sees that."""
        if region == FAILS and self.outage.begins <= self.world.now - self._started < self.outage.ends:
            self.world.pause(SILENCE_SECONDS)
            raise GridUnavailable("the connection timed out")

    def run(self, note: Callable[[str], None]) -> Found:
        """Until every session has ended."""
        gc.disable()  # it would visit a hundred thousand slots again and again
        try:
            return self._run(note)
        finally:
            gc.enable()

    def _run(self, note: Callable[[str], None]) -> Found:
        outage, world = self.outage, self.world
        for name in self.grids:
            for number in range(outage.agents // 2):
                begin = partial(self._agent, name, number)
                world.spawn(f"{name}-{number}", begin, world.rng.uniform(0.0, JOIN_SECONDS))
        world.run(world.now + JOIN_SECONDS + 2 * limits.HEARTBEAT_SECONDS)
        self._started = world.now
        for name in self.grids:
            world.spawn(f"{name}-reconciler", partial(self._reconcile, name))
        for number in range(outage.clients):
            world.spawn(f"client-{number}", partial(self._client, number))
        while self._left or any(grid.live() for grid in self.grids.values()):
            begun = sum(map(len, self._begun.values()))
            note(f"{outage}: {begun:,} begun, {world.now - self._started:.0f} s")
            world.run(world.now + 1.0)
        found = self._found()
        world.close()
        return found

    def _plane(self, region: str) -> Plane:
        plane = self.grids[region].plane()
        ports: dict[str, Any] = {name: _Port(getattr(plane, name), region, self) for name in PORTS}
        return replace(plane, **ports)

    def _agent(self, region: str, number: int) -> None:
        self.grids[region].agent(self._plane(region), number, partial(self._pretend, region))

    def _reconcile(self, region: str) -> None:
        """As the schedule of a grid's Lambda function does, in its own region."""
        while True:
            self.world.pause(RECONCILE_SECONDS)
            with contextlib.suppress(GridUnavailable):
                reconcile(self._plane(region), RECONCILE_SECONDS)

    def _pretend(self, region: str, event: bytes, index: int, attempt: int) -> Pretence:
        seconds = self.outage.task_seconds * self._rng.lognormvariate(-SPREAD * SPREAD / 2, SPREAD)
        self._begun[region].append((self.world.now, seconds))
        self._runs[region][event, index] += 1
        return Pretence(seconds)

    # Clients

    def _client(self, number: int) -> None:
        outage, world = self.outage, self.world
        clock = VirtualClock(world)

        def opened(name: str) -> InProcessGateway:
            self.check(name)
            plane, agents = self._plane(name), outage.agents // 2
            return InProcessGateway(
                StillDeployment(plane, f"aws://bench?region={name}", False, ("default",), agents=agents)
            )

        regions = [Region(name, partial(opened, name), monotonic=clock.monotonic) for name in self.grids]
        rng = random.Random(world.rng.getrandbits(64))
        url = f"aws://bench?regions={FAILS},{STAYS}"
        gateway = RegionalGateway(url, regions, ask=in_turn, rng=rng, monotonic=clock.monotonic)
        mine = self.submissions[number :: outage.clients]
        for each in mine:
            each.due = self._started + each.number * outage.seconds / len(self.submissions)
            if each.due > world.now:
                world.pause(each.due - world.now)
            world.spawn(f"submission-{each.number}", partial(self._submit, gateway, each, rng))
        self._wait(gateway, mine)
        self._left -= 1

    def _submit(self, gateway: RegionalGateway, each: Submission, rng: random.Random) -> None:
        spec = SessionSpec(function=FunctionSpec(name="simulated.handler"), name=f"number {each.number}")
        while not each.session_id:
            # Without a token whoever tries again submits another session: what was refused may be there.
            session_id = session_id_of(each.token) if each.token else f"s-{rng.getrandbits(96):024x}"
            events = encoded(spec.codec, [each.number] * self.outage.session_tasks)
            try:
                row = gateway.submit(
                    session_id, spec, events, total=self.outage.session_tasks, idempotent=each.token is not None
                )
            except GridUnavailable:
                each.refused += 1
                self.world.pause(AGAIN_SECONDS)
            else:
                each.session_id, each.acknowledged = row.session_id, self.world.now

    def _wait(self, gateway: RegionalGateway, mine: list[Submission]) -> None:
        """As a triggerer does: one call for all of them."""
        open_ones = {each.number: each for each in mine}
        while open_ones:
            self.world.pause(LOOK_SECONDS)
            known = {each.session_id: number for number, each in open_ones.items() if each.session_id}
            ids = list(known)
            for at in range(0, len(ids), limits.PROGRESS_BATCH):
                try:
                    rows = gateway.progress(ids[at : at + limits.PROGRESS_BATCH])
                except GridUnavailable:
                    continue
                for row in rows:
                    if row.ended:
                        del open_ones[known[row.session_id]]

    # What came of it

    def _found(self) -> Found:
        outage = self.outage
        told = {each.session_id for each in self.submissions}
        complete: set[str] = set()
        orphans = 0
        for grid in self.grids.values():
            rows = grid.database.connection().execute("SELECT id, completed, total FROM sessions").fetchall()
            for session_id, completed, total in rows:
                if session_id in told and completed == total == outage.session_tasks:
                    complete.add(session_id)
                orphans += session_id not in told and completed > 0
        ends = sorted(at + length for begun in self._begun.values() for at, length in begun)
        last = ends[-1] - self._started
        parts = {
            "before": (outage.begins / 2, outage.begins),
            "in it": (outage.begins + SILENCE_SECONDS, outage.ends),
            "after": (outage.ends, last),
        }
        rates = {
            part: sum(since <= end - self._started < until for end in ends) / max(1e-9, until - since)
            for part, (since, until) in parts.items()
        }
        return Found(
            outage=outage,
            submissions=self.submissions,
            lost=len(told - complete),
            orphans=orphans,
            tasks_twice=sum(count - 1 for runs in self._runs.values() for count in runs.values()),
            rates=rates,
            seconds=last,
            started=self._started,
            busiest={part: self._busiest(STAYS, *parts[part]) for part in ("before", "in it")},
            throttled=sum(grid.store.dynamo.demand.throttled for grid in self.grids.values()),
        )

    def _busiest(self, region: str, since: float, until: float) -> Busiest:
        grid, first, last = self.grids[region], self._started + since, self._started + until
        demand = grid.store.dynamo.demand
        seconds = range(int(first), int(last))
        ran = sum(max(0.0, min(last, at + length) - max(first, at)) for at, length in self._begun[region])

        def hottest(of: dict[str, Counter[int]]) -> int:
            return max((used[second] for used in of.values() for second in seconds), default=0)

        return Busiest(
            slots=ran / (self.outage.slots / 2 * (last - first)),
            writes=hottest(demand.writes) / WRITES_A_SECOND,
            reads=hottest(demand.reads) / READS_A_SECOND,
            in_flight=grid.queue.most_in_flight / IN_FLIGHT,
        )


def rows_of(found: Found) -> list[Row]:
    """Nothing is lost; the rest is told."""
    outage, total = found.outage, len(found.submissions)
    placed = found.placed(found.started + outage.begins + SILENCE_SECONDS, found.started + outage.ends)
    with_token = [each for each in found.submissions if each.token]
    without = [each for each in found.submissions if not each.token]
    what, share = found.busiest["in it"].first
    writes = found.busiest["in it"].writes
    return [
        Row(f"{outage}: sessions lost", found.lost, f"of {total:,} that were acknowledged", "at most", 0),
        Row("new sessions in the outage, in the region that stays", placed[STAYS], f"of {sum(placed.values()):,}"),
        Row("new sessions in the outage, in the one that is away", placed[FAILS], "", "at most", 0),
        Row("submissions without a token that were refused, and tried again", sum(bool(e.refused) for e in without)),
        Row("sessions that so ran twice", found.orphans, "only a token tells whether what was refused is there"),
        Row("submissions with a token that waited for the region", sum(bool(each.refused) for each in with_token),
            f"of {len(with_token):,}; since it may have held them"),
        Row("longest wait of a submission without a token, s",
            max(each.acknowledged - each.due for each in without), "from when it was due"),
        Row("tasks/s before the outage", found.rates["before"], f"come: {outage.tasks_a_second:,.0f}"),
        Row("tasks/s in it", found.rates["in it"], f"all slots that are left: {outage.tasks_a_second / 2:,.0f}"),
        Row("tasks/s after it, to the last one", found.rates["after"]),
        Row("tasks that ran again", found.tasks_twice, f"of {total * outage.session_tasks:,}: leases lapsed meanwhile"),
        Row("what binds first where sessions go: share of it", share, what),
        Row("the next: write units of the hottest key, share", writes, "of 1,000 a second", "at most", 1.0),
        Row("from the first submit to the last end, s", found.seconds, f"without an outage: {outage.seconds:.0f} and "
            f"{outage.task_seconds:.0f}"),
    ]  # fmt: skip
