"""The same on AWS: agents are killed, stopped and drained, submitters are killed, and AWS has a bad day.

Two proxies stand before the emulator (tests/chaos/faults.py). Their rules and this run's choices go by
``HTCGRID_CHAOS_SEED``, ``HTCGRID_CHAOS_SECONDS`` makes it longer.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import connect
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import CloudPlane, open_cloud
from htcgrid_core.domain.destination import Destination
from htcgrid_core.testing.contracts.facts import assert_counters_exact
from tests.aws.emulators import REGION, Account
from tests.aws.grids import CloudUnderTest, cloud, url_of
from tests.chaos.audience import DESK, MARK, Audience, audience
from tests.chaos.chaos_monkey import ChaosMonkey
from tests.chaos.faults import Faults, faulty
from tests.chaos.reconcilers import Reconciler
from tests.chaos.run import SETTLE_SECONDS, Run, Shape
from tests.e2e.support import eventually
from tests.planes import plane_of

SECONDS = float(os.environ.get("HTCGRID_CHAOS_SECONDS", "12"))
SEED = int(os.environ.get("HTCGRID_CHAOS_SEED", "20261122"))
AGENTS, SLOTS = 3, 2
SHAPE = Shape(sizes=(1, 7, 100, 400), live=3, submitted=500, kill_after_seconds=(0.8, 2.5), look_seconds=0.3, small=0.5)
MOST_ROUNDS = 5
KINDS_OF_TROUBLE = 8


class Agents:
    """A few agents, as many as there should be: who dies is replaced."""

    def __init__(self, cloud: CloudUnderTest) -> None:
        self._cloud = cloud
        self._running: list[subprocess.Popen[bytes]] = []
        self.left: list[int] = []  # exit codes

    def keep(self) -> None:
        """Replace those that ended."""
        self.left += [agent.returncode for agent in self._running if agent.poll() is not None]
        self._running = [agent for agent in self._running if agent.returncode is None]
        while len(self._running) < AGENTS:
            self._running.append(self._cloud.start_agent(slots=SLOTS))

    def pids(self) -> list[int]:
        """Of those that run."""
        return [agent.pid for agent in list(self._running) if agent.poll() is None]


@pytest.fixture
def faults(aws_account: Account) -> Iterator[Faults]:
    with faulty(aws_account, SEED) as faults:
        yield faults


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Audience]:
    """Step Functions; the desk is a queue of the account."""
    with audience(SEED) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SFN", found.tasks.url)
        yield found


@pytest.fixture
def troubled(
    told: Audience, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CloudUnderTest]:
    """A grid behind the proxies, which fail once it is made."""
    with cloud(faults.account, tmp_path, monkeypatch) as found:
        found.url = found.url.partition("&endpoint=")[0]  # endpoints are in the environment
        yield found


def hear_all(told: Audience, account: Account) -> None:
    """What is in the desk's queue."""
    sqs = account.sqs()
    url = sqs.get_queue_url(QueueName=DESK)["QueueUrl"]
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            told.hear(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def messages_left(sound: CloudPlane) -> int:
    """In the three queues that agents receive from."""
    sqs, queues = sound.queue._clients.sqs, sound.parameter.queues["default"]
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answers = [
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names) for url in (queues.high, queues.normal, queues.low)
    ]
    return sum(int(number) for answer in answers for number in answer["Attributes"].values())


@pytest.mark.timeout(MOST_ROUNDS * SECONDS + SETTLE_SECONDS + 150)
def test_every_promise_holds_while_agents_are_killed_and_calls_fail(
    troubled: CloudUnderTest, faults: Faults, aws_account: Account, told: Audience, tmp_path: Path
) -> None:
    print(f"HTCGRID_CHAOS_SEED={SEED}")  # shown if it fails
    agents = Agents(troubled)
    sound = open_cloud(parse_aws(url_of(aws_account)))
    aws_account.sqs().create_queue(QueueName=DESK)
    desk = Destination(name=DESK, target=f"arn:aws:sqs:{REGION}:{aws_account.id}:{DESK}", progress=(MARK,))
    sound.plane.outbox.put_destination(desk)
    with connect(troubled.url) as grid, Reconciler(troubled.url, troubled.environment) as reconciler:
        victims = lambda: [*agents.pids(), *reconciler.pids()]  # noqa: E731
        monkey = ChaosMonkey(victims, troubled.url, SEED, pause_seconds=(0.5, 2.0))

        def keep() -> None:
            reconciler.keep()
            agents.keep()

        trace, environment = tmp_path / "trace", troubled.environment
        run = Run(troubled.url, grid, random.Random(SEED), trace, keep, told, SHAPE, environment)
        faults.begin()
        try:
            for _ in range(MOST_ROUNDS):  # a busy machine makes few calls in one
                run.disturb(monkey, SECONDS)
                if len(faults.done()) > KINDS_OF_TROUBLE and told.done:
                    break
            print(dict(faults.done()))
        finally:
            faults.calm()
        try:
            run.settle()
        finally:
            print(f"{messages_left(sound)} messages left", troubled.logs()[-3000:])
        told.settle(plane_of(grid))
        hear_all(told, aws_account)
        run.assert_promises()
        for observed in run.sessions:
            assert_counters_exact(sound.plane.store, observed.session.id)
        replayed = faults.replay()
        hear_all(told, aws_account)
        eventually(lambda: not messages_left(sound), "every old message was looked at")
        run.assert_promises()
        assert sound.dead_letters.count("default") == 0
    run.assert_executions_agree(at_least=300, workers=AGENTS * SLOTS)
    print(f"{replayed} messages replayed; agents ended with {sorted(set(agents.left))}")
    assert "Traceback" not in troubled.logs(), "an agent broke instead of waiting for better times"
    done = faults.done()
    assert min(monkey.done["kill"], monkey.done["stop"], run.done["submitter killed"]) >= 2, "too little chaos"
    assert reconciler.killed >= 1, "no reconciler was killed"
    assert told.done.total() >= 1, f"too little trouble with those who are told: {told.done}"
    assert len(done) > KINDS_OF_TROUBLE, f"too little trouble: {done}"
    sound.close()
