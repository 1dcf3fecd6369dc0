"""Results that are made more quickly than they are committed: no more tasks begin while they would only pile up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

import pytest

from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.calls import LARGE_COMMIT, Bulkhead, InlineCalls, Result
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.domain import limits
from htcgrid_core.ports.plane import Plane
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from tests.manual_agent import submit
from tests.planes import ManualClock, spec

T = TypeVar("T")

LARGE, SMALL, SLOTS, TASKS = "book-1", "book-2", 2, 100
RESULT = b'"' + b"x" * (1 << 20) + b'"'


class HeldDisk(InlineCalls):
    """Large commits are over when it is told so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def make(self, bulkhead: Bulkhead, call: Callable[[], T], done: Callable[[Result[T]], object]) -> None:
        if bulkhead is LARGE_COMMIT:
            self.waiting.append(lambda: done(call))
        else:
            done(call)

    def write(self) -> None:
        """What waits."""
        waiting, self.waiting = self.waiting, []
        for write in waiting:
            write()


class SlowDisk(InlineCalls):
    """A large commit takes a while, one after the other."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self._under_way: deque[tuple[float, Callable[[], object]]] = deque()

    @property
    def next_end(self) -> float:
        """Monotonic time at which a commit is over."""
        return self._under_way[0][0] if self._under_way else float("inf")

    def make(self, bulkhead: Bulkhead, call: Callable[[], T], done: Callable[[Result[T]], object]) -> None:
        if bulkhead is LARGE_COMMIT:
            free_at = self._under_way[-1][0] if self._under_way else self._clock.monotonic()
            self._under_way.append((free_at + self._seconds, lambda: done(call)))
        else:
            done(call)

    def collect(self) -> None:
        while self._under_way and self.next_end <= self._clock.monotonic():
            self._under_way.popleft()[1]()


@pytest.mark.parametrize("slots", [1, 2])
def test_tasks_run_while_results_are_committed(
    plane: Plane, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, slots: int
) -> None:
    """Also where each result alone is as much as may wait."""
    monkeypatch.setattr(limits, "COMMIT_BYTES", 1 << 18)
    monkeypatch.setattr(limits, "LARGE_COMMIT_BYTES", 1 << 18)
    monkeypatch.setattr(limits, "UNCOMMITTED_BYTES", 1 << 19)
    disk, rounds = SlowDisk(clock, 0.4), 6

    def block(until: float) -> bool:
        at = min(until, disk.next_end)
        clock.pass_(max(0.0, at - clock.monotonic()))
        return at < until

    tasks = rounds * slots
    submit(plane, LARGE, spec(bundle_size=tasks), [1] * tasks, idempotent=False)
    workers = SimulatedWorkers(slots, clock, block, lambda *_: Pretence(1.0, RESULT))
    agent, began = Agent(plane, workers, AgentIdentity("agent-1"), calls=disk), clock.monotonic()
    while plane.store.session(LARGE, clock.now()).counters.completed < tasks:
        agent.step()
    assert clock.monotonic() - began < rounds * 1.0 + 2 * 0.4 + 0.1


def test_tasks_wait_for_the_commit_before_them(plane: Plane, clock: ManualClock) -> None:
    """But for those of other sessions, whose results are small."""
    made = {LARGE: 0, SMALL: 0}

    def pretend(event: bytes, *_: int) -> Pretence:
        name = LARGE if event == b"1" else SMALL
        made[name] += 1
        return Pretence(0.02, RESULT if name == LARGE else b"null")

    def block(until: float) -> bool:
        clock.pass_(max(0.0, until - clock.monotonic()))
        return False

    def completed(name: str) -> int:
        return plane.store.session(name, clock.now()).counters.completed

    submit(plane, LARGE, spec(bundle_size=TASKS), [1] * TASKS, idempotent=False)
    disk = HeldDisk()
    agent = Agent(plane, SimulatedWorkers(SLOTS, clock, block, pretend), AgentIdentity("agent-1"), calls=disk)
    while not disk.waiting:
        agent.step()
    submit(plane, SMALL, spec(bundle_size=1), [2] * 10, idempotent=False)
    while completed(SMALL) < 10:
        agent.step()
    at_most = (limits.COMMIT_BYTES + limits.UNCOMMITTED_BYTES) // len(RESULT) + 2 * SLOTS + 2
    assert limits.UNCOMMITTED_BYTES // len(RESULT) < made[LARGE] <= at_most
    while completed(LARGE) < TASKS:
        agent.step()
        disk.write()
    assert made == {LARGE: TASKS, SMALL: 10}
