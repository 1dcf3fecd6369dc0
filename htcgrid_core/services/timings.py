"""When tasks ended and how long they took: of all, or of a sample where there are many. Their outputs are not kept."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.results import page_columns
from htcgrid_core.services.task_states import committed_after

SAMPLED_BUNDLES = 100
SLOWEST = 20
BARS = 60  # of tasks that ended, over time
BOUNDS = tuple(step * 10.0**power for power in range(-4, 5) for step in (1.0, 2.0, 5.0))  # of durations (s)


@dataclass(frozen=True, slots=True)
class Slow:
    """One of the tasks that took longest: its last attempt, in seconds."""

    index: int
    seconds: float
    attempts: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Timings:
    """Of a session's tasks that have ended.

    Attributes:
        tasks: of how many this tells.
        began, step_seconds: of the bars of ``ended``: wall clock (s), and each one's width.
        ended: how many tasks ended in the time of each bar.
        durations: how many took less than the first of ``BOUNDS`` (s), as much or more but less than the second, ...
        slowest: the slowest first.
    """

    tasks: int
    began: float
    step_seconds: float
    ended: tuple[int, ...]
    durations: tuple[int, ...]
    slowest: tuple[Slow, ...]


def timings(plane: Plane, record: SessionRecord) -> Timings:
    """What is known now. Of a session of many bundles some are read, evenly spread over the order of their commits.

    Raises:
        CorruptPayload: what was read was damaged, or not written by this grid.
    """
    ends, durations = array("d"), [0] * (len(BOUNDS) + 1)
    slowest: list[tuple[float, int, int, bool]] = []
    for page in _sampled(plane, record):
        for index, failed, attempts, started, seconds in zip(
            page.indexes, page.failed, page.attempts, page.started, page.seconds, strict=True
        ):
            ends.append(started + seconds)
            durations[bisect_right(BOUNDS, seconds)] += 1
            slow = (seconds, -index, attempts, bool(failed))
            if len(slowest) < SLOWEST:
                heapq.heappush(slowest, slow)
            else:
                heapq.heappushpop(slowest, slow)
    slow_first = tuple(
        Slow(-at, seconds, tries, failed) for seconds, at, tries, failed in sorted(slowest, reverse=True)
    )
    began = min(ends, default=0.0)
    step = max(max(ends, default=0.0) - began, 1e-3) / BARS
    bars = [0] * BARS
    for end in ends:
        bars[min(BARS - 1, int((end - began) / step))] += 1
    return Timings(len(ends), began, step, tuple(bars) if ends else (), tuple(durations), slow_first)


def _sampled(plane: Plane, record: SessionRecord) -> Iterator[Outcomes]:
    bundles = [one.bundle_id for some in committed_after(plane, record.session_id, 0) for one in some]
    chosen = len(bundles)
    if chosen > SAMPLED_BUNDLES:
        bundles = [bundles[chosen * at // SAMPLED_BUNDLES] for at in range(SAMPLED_BUNDLES)]
    if bundles:
        spec = record.parsed_spec()
        for page in with_retries(plane, partial(plane.store.bundle_pages, record.session_id, bundles)):
            yield page_columns(plane, record.session_id, spec, page)
