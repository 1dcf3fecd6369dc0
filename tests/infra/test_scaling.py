"""The chart's scaling in virtual time: by slots wanted, as the grid says them, beside messages in flight.

A pod is an agent of 32 slots. The autoscaler looks every 15 s and follows the chart's own policies; a pod that is asked
for works a minute later. Tasks are as long as a scenario says, and some of that length have ended already.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from htcgrid_core.domain import limits
from htcgrid_core.domain.demand import demand_of
from tests.infra.test_chart import CHART, of_kind, rendered
from tests.unit.test_demand import session

SLOTS = 32
LOOK_SECONDS = 15
START_SECONDS = 60  # of a pod whose node is new
MAX_PODS = 3125
MESSAGES_OF_100_000_BUSY_SLOTS = 5311  # in flight, in the model of `make bench-aws`


@dataclass
class Policies:
    """Of scaling, as the chart renders them."""

    up_percent: int
    up_pods: int
    down_percent: int
    stable_seconds: int


def policies() -> Policies:
    (scaled,) = of_kind(rendered(CHART / "ci" / "minimal.yaml"), "ScaledObject")
    behaviour = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    up = {each["type"]: each["value"] for each in behaviour["scaleUp"]["policies"]}
    down = behaviour["scaleDown"]
    return Policies(up["Percent"], up["Pods"], down["policies"][0]["value"], down["stabilizationWindowSeconds"])


@dataclass
class Course:
    """How a scenario went.

    Attributes:
        most: pods at once.
        to_most: seconds until they were asked for.
        idle: slot-seconds that were there, and had nothing to do.
        done_at: when all was done, s.
    """

    most: int
    to_most: int
    idle: float
    done_at: int


Signal = Callable[[int, int, float], int]  # pods wanted by tasks left, busy slots and seconds of a task


def by_slots(tasks: int, busy: int, seconds: float) -> int:
    """What the chart's formula gives: slots wanted, over an agent's."""
    live = session(tasks, ended=1, seconds=seconds)
    return math.ceil(sum(each.slots_wanted for each in demand_of([live], {"default": busy})) / SLOTS)


def by_messages(tasks: int, busy: int, seconds: float) -> int:
    """A message a slot, of those that wait and those in flight: what a queue's depth would give."""
    return math.ceil(tasks * MESSAGES_OF_100_000_BUSY_SLOTS / 100_000 / SLOTS)


def run(arrivals: dict[int, int], seconds: int, signal: Signal, end: int = 7200) -> Course:
    rule, asked, ready = policies(), 0, [0] * (end + START_SECONDS + LOOK_SECONDS)
    waiting, running, history, course = 0, dict[int, int](), list[int](), Course(0, 0, 0.0, end)
    for now in range(0, end, LOOK_SECONDS):
        waiting += sum(count for at, count in arrivals.items() if now - LOOK_SECONDS < at <= now)
        running = {at: count for at, count in running.items() if at > now}
        slots, busy = ready[now] * SLOTS, sum(running.values())
        begun = max(0, min(slots - busy, waiting))
        running[now + seconds] = begun
        waiting, busy = waiting - begun, busy + begun
        left = waiting + busy
        course.idle += max(0, slots - busy) * LOOK_SECONDS
        wanted = min(MAX_PODS, max(signal(left, busy, seconds) if left else 0, int(left > 0)))
        history.append(wanted)
        stable = max(history[-rule.stable_seconds // LOOK_SECONDS :])
        if wanted > asked:
            asked = min(wanted, max(asked * (100 + rule.up_percent) // 100, asked + rule.up_pods))
        elif stable < asked:
            asked = max(stable, math.floor(asked * (1 - rule.down_percent / 100 * LOOK_SECONDS / 60)))
        for at in range(now + (START_SECONDS if asked > ready[now] else 0), len(ready)):
            ready[at] = asked
        if asked > course.most:
            course.most, course.to_most = asked, now
        if not left and now >= max(arrivals):
            course.done_at = now
            break
    return course


def test_100_000_slots_at_once() -> None:
    """Messages would give fewer than a fifth of the pods; slots get all of them within a few minutes."""
    tasks = {0: 300_000}
    slots, messages = run(tasks, 300, by_slots), run(tasks, 300, by_messages)
    print(f"by slots wanted {slots}; by messages {messages}")
    assert slots.most == MAX_PODS
    assert slots.to_most <= 300
    assert messages.most < MAX_PODS / 5
    assert slots.done_at * 3 < messages.done_at


def test_a_burst_each_minute_is_served_by_what_is_there() -> None:
    """After the first ones nobody comes and goes: pods are kept for three minutes."""
    course = run({60 * minute: 12_800 for minute in range(20)}, LOOK_SECONDS, by_slots)
    print(f"a burst each minute: {course}")
    needed = 12_800 * LOOK_SECONDS / limits.BACKLOG_TARGET_SECONDS / SLOTS
    assert needed <= course.most <= 3 * needed
    assert course.done_at <= 20 * 60 + 300


def test_a_long_tail_lets_pods_go() -> None:
    course = run({0: 32_000, **{60 * minute: 32 for minute in range(1, 40)}}, 60, by_slots)
    print(f"a long tail: {course}")
    assert 32_000 // SLOTS <= course.most <= 32_064 // SLOTS
    assert course.idle < course.most * SLOTS * 1500
