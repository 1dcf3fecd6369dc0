"""Demand: how many slots the live sessions of a grid could use, for each pool and priority. The one number for scaling.

A message in a queue is no measure of it: it is a bundle, of one task or of thousands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import is_for_newer_agents
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import Priority, SessionRecord

PRIORITIES: tuple[Priority, ...] = get_args(Priority)
_WANTING = (SessionState.SUBMITTED, SessionState.RUNNING)  # nothing of a cancelled session begins any more


@dataclass(frozen=True, slots=True)
class Demand:
    """What the live sessions of one pool and priority want.

    Attributes:
        sessions: those whose tasks may run now.
        tasks: theirs that have not ended, waiting or running.
        work_seconds: how long these would take one slot, by the tasks that have ended. Tasks of unknown length, in a
            pool where nothing has ended yet, add nothing.
        slots_wanted: slots that could usefully be had now: for a scaler to provide. See ``demand_of``.
    """

    pool: str
    priority: Priority
    sessions: int
    tasks: int
    work_seconds: float
    slots_wanted: int


@dataclass(frozen=True, slots=True)
class _Backlog:
    """The tasks of one pool and priority, and how many of them are of unknown length."""

    sessions: int = 0
    tasks: int = 0
    work_seconds: float = 0.0
    unknown: int = 0

    def plus(self, tasks: int, mean_seconds: float | None) -> _Backlog:
        return _Backlog(
            self.sessions + 1,
            self.tasks + tasks,
            self.work_seconds + tasks * (mean_seconds or 0.0),
            self.unknown + (tasks if mean_seconds is None else 0),
        )


def demand_of(
    live: Iterable[SessionRecord],
    busy: Mapping[str, int],
    *,
    backlog_seconds: float = limits.BACKLOG_TARGET_SECONDS,
) -> list[Demand]:
    """The demand of each pool that has live sessions or agents, by priority: high, normal, low.

    Slots wanted are as many as do the work that is left in ``backlog_seconds`` (the acceptable backlog per instance of
    AWS's guide to scaling by a queue), with these bounds:

    - never more than tasks, since a task runs on one slot: 100 tasks of an hour want 100 slots;
    - one for each task of unknown length: the length is that of the session's tasks that have ended, or of its pool's,
      and unknown only where nothing has ended yet. What takes long is therefore underestimated in a pool of short
      tasks, until the first has ended;
    - as many as are busy: what runs is neither waste nor to be stopped. Agents say how many slots of a pool are busy,
      not for whom; they are taken to be shared out as the tasks are.

    Tasks that have failed and run again count in the pool to which their session lets them move, too: some of them may
    be there, and a pool without agents would never have any.

    Sessions that are being cancelled, and those for agents of a newer release than this one, want nothing.

    Args:
        live: sessions that have not ended.
        busy: busy slots of each pool's agents, a key for each pool that has agents.
        backlog_seconds: in which a backlog is to be done.
    """
    wanting = [r for r in live if r.state in _WANTING and not is_for_newer_agents(r.spec)]
    larger = {record.larger_pool for record in wanting if record.larger_pool and record.retrying}
    pools = sorted({record.pool for record in wanting} | larger | set(busy))
    return [demand for pool in pools for demand in _of_pool(pool, wanting, busy.get(pool, 0), backlog_seconds)]


def _of_pool(pool: str, wanting: Sequence[SessionRecord], busy: int, backlog_seconds: float) -> list[Demand]:
    mine = [record for record in wanting if record.pool == pool]
    moved = [record for record in wanting if record.larger_pool == pool != record.pool and record.retrying]
    usual = _mean_seconds([*mine, *moved])
    backlogs: dict[Priority, _Backlog] = dict.fromkeys(PRIORITIES, _Backlog())
    for record in mine:
        own = _mean_seconds([record])
        tasks = record.counters.pending
        if record.state is SessionState.SUBMITTED:
            tasks = max(1, tasks)  # those that are still to come need an agent that makes bundles of them
        backlogs[record.priority] = backlogs[record.priority].plus(tasks, usual if own is None else own)
    for record in moved:
        own = _mean_seconds([record])
        backlogs[record.priority] = backlogs[record.priority].plus(record.retrying, usual if own is None else own)
    total = sum(backlog.tasks for backlog in backlogs.values())
    return [
        Demand(
            pool=pool,
            priority=priority,
            sessions=backlog.sessions,
            tasks=backlog.tasks,
            work_seconds=backlog.work_seconds,
            slots_wanted=_slots_wanted(backlog, busy * backlog.tasks / total if total else 0.0, backlog_seconds),
        )
        for priority, backlog in backlogs.items()
    ]


def _mean_seconds(records: Iterable[SessionRecord]) -> float | None:
    """How long a task takes, by those that have ended; None if none has."""
    counters = [record.counters for record in records]
    ended = sum(counter.completed + counter.failed for counter in counters)
    return sum(counter.task_seconds for counter in counters) / ended if ended else None


def _slots_wanted(backlog: _Backlog, busy: float, backlog_seconds: float) -> int:
    needed = backlog.unknown + math.ceil(backlog.work_seconds / backlog_seconds)
    return min(backlog.tasks, max(needed, math.ceil(busy)))
