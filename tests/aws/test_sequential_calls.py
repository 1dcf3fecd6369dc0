"""How many calls a small session waits for, one after the other: on AWS it takes as many times their latency."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from htcgrid_core import Grid
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.deployment import CloudGrid
from htcgrid_core.domain import limits
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.ports.bundle_queue import Message
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.services.claim import Work, claim
from htcgrid_core.services.commit import commit
from tests.aws.emulators import Account
from tests.aws.grids import CloudUnderTest
from tests.manual_agent import parse, run

BUDGET = (3, 1, 1)
TRIES = 5  # whose shortest chains count: on a busy machine the second of two threads may begin when the first is done
HANDLER = "pricing.handler"
BESIDE = ("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")  # for which nobody here waits


class Chain:
    """The longest chain of calls, each of which began after the one before it was answered.

    Attributes:
        length: of it, in calls.
    """

    def __init__(self) -> None:
        self.length = 0
        self.names: list[str] = []

    def watch(self, session: Any) -> Any:
        """Look at the calls of all clients that a boto3 session makes; returns it."""
        session.events.register("before-call.*.*", self._begin)
        session.events.register("after-call.*.*", self._end)
        return session

    def of(self, call: partial[Any]) -> tuple[int, Any]:
        """Its length while something is done, and what that returns."""
        self.length = 0
        answer = call()
        return self.length, answer

    def _begin(self, model: Any, context: dict[str, Any], **_: Any) -> None:
        context["at"] = self.length + 1

    def _end(self, model: Any, context: dict[str, Any], **_: Any) -> None:
        if model.name not in BESIDE:
            self.names.append(f"{model.name} {context['at']}")
            self.length = max(self.length, context["at"])


class Watched:
    """A client, and an agent that works by hand, of one grid."""

    def __init__(self, account: Account, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chain = Chain()
        monkeypatch.setattr(limits, "IDLE_HEARTBEATS", float("inf"))  # who is there is asked once
        address = parse_aws(url)
        self._client = CloudGrid(address, self.chain.watch(account.session()))
        self._agent = CloudGrid(address, self.chain.watch(account.session()))
        self._bell = self._agent.cloud.doorbell.listen(WORK)
        self.grid = Grid(InProcessGateway(self._client))

    def session(self, tasks: int) -> tuple[int, int, int]:
        """Run one; calls from submit to the start, from the task's end to the session's, from there to its results."""
        submitted, session = self.chain.of(partial(self.grid.submit, HANDLER, list(range(tasks))))
        claims: list[int] = []
        works: list[tuple[Work, Message]] = []
        while sum(len(work.bundle.indexes) for work, _ in works) < tasks:
            length, found = self.chain.of(partial(self._claim_next))
            claims.append(length)
            works.append(found)
        for work, message in works:
            ended, record = self.chain.of(partial(self._commit, work, message))
        assert record.ended
        collected, results = self.chain.of(partial(list, session.results()))
        assert results == list(range(tasks))
        return submitted + claims[0], ended, collected

    def _claim_next(self) -> tuple[Work, Message]:
        plane = self._agent.plane
        while not (found := plane.queue.receive("default", 1, plane.clock.now()).messages):
            self._bell.wait(limits.AGENT_POLL_SECONDS)
        work = claim(plane, found[0], agent_id="agent", lease_seconds=limits.LEASE_SECONDS, spec_of=parse)
        assert work is not None
        return work, found[0]

    def _commit(self, work: Work, message: Message) -> Any:
        plane = self._agent.plane
        return commit(plane, work, run(plane, work, lambda event: event).outcomes, [], message)

    def close(self) -> None:
        """Both of them."""
        self._bell.close()
        self._client.close()
        self._agent.close()


@pytest.fixture
def watched(aws_account: Account, aws_cloud: CloudUnderTest, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = Watched(aws_account, aws_cloud.url, monkeypatch)
    yield found
    found.close()


@pytest.mark.parametrize("tasks", [1, 15])
def test_the_budget(watched: Watched, tasks: int) -> None:
    """Three calls from submit to start: the session's write with the message beside it, the claim's read and write.

    One ends the session with its last task, and one finds it ended, with all that its results take.
    """
    watched.session(tasks)  # the first has to look whether it may use the queue, and who is there
    watched.chain.names.clear()
    tries = [watched.session(tasks) for _ in range(TRIES)]
    shortest = [min(stage) for stage in zip(*tries, strict=True)]
    assert all(calls <= most for calls, most in zip(shortest, BUDGET, strict=True)), (tries, watched.chain.names)
