"""A thousand sessions that end at once, and whoever is to be told: in virtual time, and on an emulator."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, StepFunctionsTask
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.calls import ThreadedCalls
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.agent.teller import THREADS, Teller
from htcgrid_core.agent.workers.by_runtime import Workers
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.deployment import CloudGrid
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.messenger import Answer, Heard
from htcgrid_core.ports.plane import Plane
from htcgrid_core.testing.contracts.facts import eventually
from htcgrid_core.testing.simulator.faults import FaultRates, FaultyPort
from htcgrid_core.testing.simulator.world import VirtualClock, World
from tests.aws.bench.model import DYNAMODB_SECONDS, SQS_SECONDS
from tests.aws.bench.rows import Row
from tests.aws.emulators import REGION, Account
from tests.aws.meter import Meter
from tests.aws.step_functions import step_functions
from tests.manual_agent import finish
from tests.planes import memory_plane, still_grid

SESSIONS = 1000
WITHIN_SECONDS = 10.0
CALLS_A_SESSION = 1.2  # to tasks of Step Functions, beside heartbeats
STEP_FUNCTIONS_SECONDS, STEP_FUNCTIONS_CALLS = 0.030, 500  # of a call, and taken in a second
QUEUE = "night"
ARN = "arn:aws:sqs:{region}:{account}:" + QUEUE


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it.

    Attributes:
        seconds: from the ends, which are one moment, to the last delivery.
        calls: by operation.
        rows: how many recipients were told.
    """

    sessions: int
    seconds: float
    calls: Counter[str]
    rows: int

    @property
    def task_calls(self) -> float:
        """To Step Functions, a session, beside heartbeats."""
        named = ("end_task", "SendTaskSuccess", "SendTaskFailure")
        return sum(self.calls[name] for name in named) / self.sessions

    @property
    def queue_calls(self) -> float:
        """To the destination, a session."""
        return (self.calls["send"] + self.calls["SendMessageBatch"]) / self.sessions


# In virtual time: one agent, with the latencies and limits of AWS


@dataclass
class VirtualPool(Executor):
    """Threads of a process as actors."""

    world: World
    threads: int = THREADS + 1
    _waiting: deque[Callable[[], object]] = field(default_factory=deque)
    _busy: int = 0

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have it done; nobody asks what came of it."""
        self._waiting.append(partial(call, *args, **kwargs))
        if self._busy < self.threads:
            self._busy += 1
            self.world.spawn(f"teller-{self._busy}", self._work)
        return Future()

    def _work(self) -> None:
        while self._waiting:
            self._waiting.popleft()()
        self._busy -= 1

    @property
    def is_idle(self) -> bool:
        """Whether all is done."""
        return not self._busy and not self._waiting


@dataclass
class ModelledMessenger:
    """Answers after as long as AWS takes, and refuses what is more than Step Functions takes in a second."""

    world: World
    calls: Counter[str] = field(default_factory=Counter)
    in_second: Counter[int] = field(default_factory=Counter)

    def beat(self, token: str) -> Answer:
        """The first one of a submission."""
        return Answer(Heard.YES)

    def end_task(self, token: str, data: dict[str, Any]) -> Answer:
        """SendTaskSuccess."""
        self.calls["end_task"] += 1
        self.world.pause(self.world.rng.expovariate(1.0 / STEP_FUNCTIONS_SECONDS))
        self.in_second[int(self.world.now)] += 1
        is_taken = self.in_second[int(self.world.now)] <= STEP_FUNCTIONS_CALLS
        return Answer(Heard.YES) if is_taken else Answer(Heard.LATER, "ThrottlingException")

    def send(self, destination: Destination, events: Sequence[dict[str, Any]], now: float) -> list[Answer]:
        """SendMessageBatch."""
        self.calls["send"] += 1
        self.world.pause(self.world.rng.expovariate(1.0 / SQS_SECONDS))
        return [Answer(Heard.YES)] * len(events)


def in_virtual_time(folder: Path, sessions: int = SESSIONS) -> Told:
    """Sessions of one task that end in the same moment, told by one agent alone."""
    world = World(1)
    messenger = ModelledMessenger(world)
    still = replace(memory_plane(folder), messenger=messenger)
    still.outbox.put_destination(Destination(name=QUEUE, target=ARN.format(region=REGION, account="1" * 12)))
    grid = still_grid(still)
    ids = [
        grid.submit("math.sqrt", [1], notify=[QUEUE, StepFunctionsTask(f"task-{number}")]).id
        for number in range(sessions)
    ]
    finish(still, lambda event: event)
    rates = FaultRates(latency_seconds=DYNAMODB_SECONDS)
    rates.calm()
    clock = VirtualClock(world)
    plane = replace(
        still,
        clock=clock,
        outbox=FaultyPort(world, rates, "outbox", still.outbox, "agent"),
    )
    pool = VirtualPool(world)
    teller = Teller(plane, pool)
    records = [still.store.session(session_id, still.clock.now()) for session_id in ids]
    began = world.now

    for record in records:
        teller.ended(record)
    world.run(began + 3600.0, lambda: pool.is_idle)
    for line in world.history:
        messenger.calls[line.rpartition("outbox.")[2].partition("(")[0]] += "outbox." in line
    return Told(sessions, world.now - began, messenger.calls, _delivered(still, ids))


# On an emulator: a real agent, whose calls are counted at the wire


@contextmanager
def _watched(
    account: Account, folder: Path, patch: pytest.MonkeyPatch, url: str
) -> Iterator[tuple[Grid, CloudGrid, list[SessionRecord], Meter, Counter[str]]]:
    patch.setenv("AWS_ENDPOINT_URL", account.url)
    with step_functions() as service:
        patch.setenv("AWS_ENDPOINT_URL_SFN", service.url)
        service.accepts_all = True
        address = parse_aws(url.partition("&endpoint=")[0])
        served = CloudGrid(address, account.session())
        cloud, ended = served.cloud, list[SessionRecord]()
        meter = Meter(account, cloud.parameter.table)
        meter.count(cloud.clients.of("sqs", REGION))
        bell = cloud.doorbell.listen(WORK)
        agent = Agent(
            cloud.plane,
            Workers(2, bell, folder / "packages"),
            AgentIdentity("telling"),
            replace(cloud.times.settings(), look_seconds=float("inf")),
            calls=ThreadedCalls(lambda: cloud.doorbell.ring(WORK)),
            on_end=ended.append,
        )
        thread = threading.Thread(target=agent.run, name="agent")
        thread.start()
        try:
            with Grid(InProcessGateway(CloudGrid(address, account.session()))) as grid:
                yield grid, served, ended, meter, service.counted
        finally:
            agent.drain()
            cloud.doorbell.ring(WORK)
            thread.join()
            cloud.close()


def on_an_emulator(account: Account, url: str, folder: Path, patch: pytest.MonkeyPatch, sessions: int) -> Told:
    """The same with real calls: its agent hears of all ends at once, when the last session has ended."""
    account.sqs().create_queue(QueueName=QUEUE)
    with _watched(account, folder, patch, url) as (grid, served, ended, meter, counted):
        target = ARN.format(region=REGION, account=account.id)
        grid.gateway.add_destination(Destination(name=QUEUE, target=target))
        ids = [
            grid.submit("tests.bench.handlers.echo", [1], notify=[QUEUE, StepFunctionsTask(f"task-{number}")]).id
            for number in range(sessions)
        ]
        eventually(lambda: len(ended), lambda count: count == sessions)
        plane = served.cloud.plane
        meter.reset()
        counted.clear()
        began = time.monotonic()
        teller = Teller(plane)
        for record in ended:
            teller.ended(record)
        eventually(plane.outbox.pending, lambda rows: not rows)
        seconds = time.monotonic() - began
        teller.close()
        return Told(sessions, seconds, meter.calls + counted, _delivered(plane, ids))


def _delivered(plane: Plane, ids: Sequence[str]) -> int:
    return sum(row.state == "DELIVERED" for session_id in ids for row in plane.outbox.of(session_id))


def rows_of(virtual: Told, real: Told) -> list[Row]:
    """For the bench."""
    many = f"{virtual.sessions:,} sessions that end at once, one agent"
    told = f"{real.sessions:,} sessions on ministack"
    return [
        Row(f"{many}: seconds until all are told, in virtual time", virtual.seconds, "", "at most", WITHIN_SECONDS),
        Row(f"{many}: calls to Step Functions a session", virtual.task_calls, "", "at most", CALLS_A_SESSION),
        Row(f"{many}: calls to a queue a session", virtual.queue_calls, "without batches: 1"),
        Row(f"{told}: seconds until all are told", real.seconds),
        Row(f"{told}: calls to Step Functions a session", real.task_calls, "", "at most", CALLS_A_SESSION),
        Row(f"{told}: calls to a queue a session", real.queue_calls, "without batches: 1"),
    ]
