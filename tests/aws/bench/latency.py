"""How long sessions take behind a proxy that adds what AWS takes within a region; and what idle agents call."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from htcgrid_core import Grid, connect
from htcgrid_core.domain import limits
from htcgrid_core.domain.lifecycle import SessionState
from tests.aws.bench.cost import HANDLER
from tests.aws.bench.rows import Row
from tests.aws.emulators import Account
from tests.aws.grids import CloudUnderTest
from tests.aws.latency_proxy import SECONDS, Away

SLEEP = "tests.bench.handlers.sleep"
LEASE = {"HTCGRID_LEASE_SECONDS": f"{limits.LEASE_SECONDS:g}"}  # as on AWS; tests have shorter ones
SLOTS, AGENTS = 32, 2
FEW_SLOTS = 8
MANY_IDLE = 10
SMALL = 15  # tasks of a small session
PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        lone: sessions of one task.
        small: sessions of fifteen.
        rounds: of 64 tasks, and of cancels.
        idle_seconds: for which calls of idle agents are counted.
    """

    lone: int = 60
    small: int = 200
    rounds: int = 5
    idle_seconds: float = 60.0


QUICK = Sizes(15, 20, 2, 20.0)


@dataclass(frozen=True)
class Bench:
    """A grid behind a proxy.

    Attributes:
        queues: the account, on the queues' emulator itself.
    """

    queues: Account
    cloud: CloudUnderTest
    proxy: Away
    sizes: Sizes
    note: Callable[[str], None]

    def rows(self) -> list[Row]:
        """Measure all of it."""
        return [*self._of_one_agent(), *self._of_two_agents(), *self._idle()]

    def _of_one_agent(self) -> list[Row]:
        agent = self.cloud.start_agent(slots=FEW_SLOTS, **LEASE)
        with connect(self.cloud.url) as grid:
            _warm(grid, FEW_SLOTS)
            self.note("the emulator's own wake")
            wakes = self._wakes()
            self.note(f"{self.sizes.lone} sessions of one task")
            # In no step with the looks of the emulator, one every 0.1 s since the agent began to wait.
            lone = [
                _session_seconds(grid, 1, PAUSE_SECONDS + 0.013 * (number % 8)) for number in range(self.sizes.lone)
            ]
            self.note(f"{self.sizes.small} sessions of {SMALL} tasks")
            calls = self._calls_of(lambda: [_session_seconds(grid, SMALL, 0.0) for _ in range(self.sizes.small)])
            self.note("cancels")
            cancels = [_cancel_seconds(grid) for _ in range(self.sizes.rounds)]
        agent.terminate()
        agent.wait()
        wake = f"the emulator's own wake: {_ms(wakes, 50):.0f}, {_ms(wakes, 95):.0f}"
        added = ", ".join(f"{service} {1000 * seconds:g}" for service, seconds in SECONDS.items())
        by_name = ", ".join(f"{name} {count / self.sizes.small:.1f}" for name, count in calls.most_common())
        heartbeats = [seconds / limits.HEARTBEAT_SECONDS for seconds in cancels]
        return [
            Row("session of one task, warm, p50, ms", _ms(lone, 50), f"ms added: {added}", "at most", 130),
            Row("the same, p95", _ms(lone, 95), wake),
            Row(f"calls a session of {SMALL} tasks", calls.total() / self.sizes.small, by_name, "at most", 12),
            Row("cancel to CANCELLED, heartbeats", max(heartbeats), f"the slowest of {len(cancels)}", "at most", 1.0),
        ]  # fmt: skip

    def _of_two_agents(self) -> list[Row]:
        agents = [self.cloud.start_agent(slots=SLOTS, **LEASE) for _ in range(AGENTS)]
        tasks, over = AGENTS * SLOTS, []
        with connect(self.cloud.url) as grid:
            while len(grid.gateway.agents()) < AGENTS:
                time.sleep(0.1)
            _warm(grid, tasks)
            for _ in range(2):  # until every slot of both has its worker
                list(grid.submit(SLEEP, [{"s": 1.0, "n": n} for n in range(tasks)]).results())
            time.sleep(2 * limits.HEARTBEAT_SECONDS)  # in which the agents hear of each other
            for number in range(self.sizes.rounds):
                self.note(f"{tasks} tasks of a second, {number + 1} of {self.sizes.rounds}")
                began = time.monotonic()
                done = list(grid.submit(SLEEP, [{"s": 1.0, "n": n} for n in range(tasks)]).results())
                over.append(time.monotonic() - began - 1.0)
                assert len(done) == tasks
        for agent in agents:
            agent.terminate()
            agent.wait()
        what = f"{tasks} tasks of 1.0 s on {AGENTS} agents of {SLOTS} slots: s over the ideal"
        beside = f"the median of {len(over)}; from {min(over):.2f} to {max(over):.2f}"
        return [Row(what, statistics.median(over), beside, "at most", 0.15)]

    def _idle(self) -> list[Row]:
        rows = []
        for count in (1, MANY_IDLE):
            agents = [self.cloud.start_agent(slots=1, **LEASE) for _ in range(count)]
            with connect(self.cloud.url) as grid:
                while len(grid.gateway.agents()) < count:
                    time.sleep(0.2)
            self.note(f"{count} idle agents")
            # Until they know of each other: then one of them does a tick, on average.
            time.sleep((limits.IDLE_HEARTBEATS + 1) * 2 * limits.HEARTBEAT_SECONDS)
            calls = self._calls_of(lambda: time.sleep(self.sizes.idle_seconds))
            for agent in agents:
                agent.terminate()
                agent.wait()
            minutes = self.sizes.idle_seconds / 60.0
            by_name = ", ".join(f"{name} {calls[name] / minutes:.0f}" for name in sorted(calls))
            budget = 120 if count == MANY_IDLE else None
            what = f"calls a minute of {count} idle agent{'s' * (count > 1)}"
            rows.append(Row(what, calls.total() / minutes, by_name, "at most", budget))
        return rows

    def _calls_of(self, action: Callable[[], object]) -> Counter[str]:
        before = self.proxy.calls()
        action()
        return self.proxy.calls() - before

    def _wakes(self) -> list[float]:
        """Seconds from a send to the end of the long poll that waits for it, on the emulator itself."""
        sender, receiver = self.queues.sqs(), self.queues.sqs()
        url = sender.create_queue(QueueName="wakes")["QueueUrl"]
        found = []
        for number in range(self.sizes.lone):
            came: list[float] = []

            def receive(came: list[float] = came) -> None:
                answer = receiver.receive_message(QueueUrl=url, WaitTimeSeconds=20)
                came.append(time.monotonic())
                receiver.delete_message(QueueUrl=url, ReceiptHandle=answer["Messages"][0]["ReceiptHandle"])

            thread = threading.Thread(target=receive)
            thread.start()
            time.sleep(0.05 + 0.013 * (number % 8))  # it waits by then, in no step with its own looks
            sent = time.monotonic()
            sender.send_message(QueueUrl=url, MessageBody="x")
            thread.join()
            found.append(came[0] - sent)
        return found


def _session_seconds(grid: Grid, tasks: int, pause_seconds: float = PAUSE_SECONDS) -> float:
    """From the submit to the last result."""
    time.sleep(pause_seconds)
    events = list(range(tasks))
    began = time.monotonic()
    found = list(grid.submit(HANDLER, events).results())
    seconds = time.monotonic() - began
    assert found == events
    return seconds


def _warm(grid: Grid, slots: int) -> None:
    """Workers are there, clients are made."""
    list(grid.submit(SLEEP, [{"s": 0.5, "n": n} for n in range(slots)], bundle_size=1).results())
    for _ in range(3):
        _session_seconds(grid, 1)


def _cancel_seconds(grid: Grid) -> float:
    """From the cancel of a session whose tasks run to its end."""
    session = grid.submit(SLEEP, [{"s": 60.0, "n": n} for n in range(2 * FEW_SLOTS)])
    time.sleep(1.0)
    began = time.monotonic()
    session.cancel()
    assert session.wait().state is SessionState.CANCELLED
    return time.monotonic() - began


def _ms(seconds: list[float], percentile: int) -> float:
    return 1000 * statistics.quantiles(seconds, n=100, method="inclusive")[percentile - 1]
