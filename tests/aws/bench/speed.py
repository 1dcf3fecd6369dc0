"""How fast sessions are on the emulator, and what CPU they take, beside the original's calls in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import psutil

from htcgrid_core import Grid, connect
from tests.aws.bench.cost import HANDLER, events_of
from tests.aws.bench.cpu import tree_used_s, used_s
from tests.aws.bench.original import Replayed, replay
from tests.aws.bench.rows import Row, shown
from tests.aws.emulators import Account
from tests.aws.grids import CloudUnderTest

ROUNDS = 5
SUBMITTED = 2  # times as many tasks, so that what a submit costs once does not weigh


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one session, from submit to its last result; CPU of client, agent and workers."""

    tasks: int
    seconds: float
    cpu_seconds: float
    agent_cpu_seconds: float


def session(grid: Grid, agent: psutil.Process, events: list[str], bundle_size: int | None) -> Speed:
    """Run one."""
    agent_cpu, cpu, started = used_s(agent), tree_used_s(), time.monotonic()
    session = grid.submit(HANDLER, events, bundle_size=bundle_size)
    for _ in session.results():
        pass
    seconds = time.monotonic() - started
    return Speed(len(events), seconds, tree_used_s() - cpu, used_s(agent) - agent_cpu)


def submitting_us(grid: Grid, events: list[str], bundle_size: int) -> float:
    """This process's CPU microseconds a task of a submit."""
    before = time.process_time()
    submitted = grid.submit(HANDLER, events, bundle_size=bundle_size)
    used = time.process_time() - before
    submitted.cancel()
    submitted.wait()
    return used / len(events) * 1e6


def beside_the_original(
    account: Account, cloud: CloudUnderTest, share: float, note: Callable[[str], None]
) -> list[Row]:
    """Tasks a second and CPU of both, on the same emulator."""
    tasks = int(10_000 * share)
    events = events_of(tasks, 1.0)
    popen = cloud.start_agent(slots=32, HTCGRID_LEASE_SECONDS="30")
    agent = psutil.Process(popen.pid)
    with connect(cloud.url) as grid:
        session(grid, agent, events[:64], 1)  # workers and clients are there
        submits, speeds = [], []
        for number in range(ROUNDS):
            note(f"submit, {number + 1} of {ROUNDS}")
            submits.append(submitting_us(grid, events * SUBMITTED, 128))
        for number in range(ROUNDS):
            note(f"{tasks:,} tasks, {number + 1} of {ROUNDS}")
            speeds.append(session(grid, agent, events, None))
        note("bundles of 1")
        small = session(grid, agent, events[: int(400 * share) + 50], 1)
    popen.terminate()
    popen.wait()
    note("the original's calls")
    theirs = replay(account, int(600 * share) + 40, events[0].encode())
    return [*_own(submits, speeds, small), *_both(speeds, small, theirs)]


def _own(submits: list[float], speeds: list[Speed], small: Speed) -> list[Row]:
    agents = [speed.agent_cpu_seconds / speed.tasks * 1e3 for speed in speeds]
    alone = small.agent_cpu_seconds / small.tasks * 1e3
    return [
        Row("submit, bundles of 128: client CPU, µs a task", median(submits), _of(submits), "at most", 30),
        Row("agent of 32 slots: CPU, ms a task", median(agents), _of(agents), "at most", 0.25),
        Row("the same, bundles of 1", alone),
    ]


def _of(values: list[float]) -> str:
    return f"the median of {ROUNDS}; from {shown(min(values))} to {shown(max(values))}"


def _both(speeds: list[Speed], small: Speed, theirs: Replayed) -> list[Row]:
    fastest = max(speeds, key=lambda speed: speed.tasks / speed.seconds)
    ours, rate = fastest.tasks / fastest.seconds, theirs.tasks / theirs.seconds
    cpu = fastest.cpu_seconds / fastest.tasks * 1e3
    their_cpu = theirs.cpu_seconds / theirs.tasks * 1e3
    beside = f"the original's calls: {rate:.1f}"
    return [
        Row(f"tasks/s, end to end, {fastest.tasks:,} tasks", ours, beside),
        Row("the same, times the original's", ours / rate, "", "at least", 20),
        Row("tasks/s, bundles of 1", small.tasks / small.seconds, beside),
        Row("CPU ms a task, client, agent and workers", cpu, f"the original's calls: {their_cpu:.1f}"),
        Row("the original's calls a task, as replayed", theirs.calls / theirs.tasks),
    ]
