"""What tells somebody, by what agents count. docs/runbook.md has a section for each, by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OF_GRID = "grid, region"  # labels that tell grids apart: no rule adds up those of two
OF_POOL = f"{OF_GRID}, pool"


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule.

    Attributes:
        name: of the runbook's section.
        expression: PromQL; it keeps the labels that say which grid it is.
        minutes: for which it must hold.
        severity: page for what stops work or loses something, ticket for what can wait for the morning.
        summary: what it means, in a sentence.
    """

    name: str
    expression: str
    minutes: int
    severity: Literal["page", "ticket"]
    summary: str


def increased(selector: str, by: str = OF_GRID, minutes: int = 15) -> str:
    """How much counters went up, those of each grid together."""
    return f"sum by ({by}) (increase({selector}[{minutes}m]))"


def seen(selector: str, by: str = OF_POOL) -> str:
    """A gauge of the grid as a whole: whichever agents did a tick of the reconciler show it, each as it saw it."""
    return f"max by ({by}) (max_over_time({selector}[2m]))"


def backlog(metric: str) -> str:
    """Such a gauge, of all priorities of a pool."""
    return f"sum by ({OF_POOL}) ({seen(metric, f'{OF_POOL}, priority')})"


_SLOTS = f"sum by ({OF_POOL}) (htcgrid_slots)"
_OVERHEAD = increased("htcgrid_overhead_seconds_total", OF_POOL, 30)
_ENDED = increased('htcgrid_tasks_total{outcome=~"completed|failed"}')
_FAILED = increased('htcgrid_tasks_total{outcome="failed"}')

ALERTS: tuple[Alert, ...] = (
    Alert(
        "standing-still",
        # A pool without agents has no series of its own: `== 0` would not see it.
        f"{backlog('htcgrid_tasks_pending')} > 0 unless on ({OF_POOL}) sum by ({OF_POOL}) (htcgrid_slots_busy) > 0",
        10,
        "page",
        "Tasks of pool {{ $labels.pool }} wait, and no slot has one",
    ),
    Alert(
        "slots-missing",
        # A pool that is as large as its operator lets it be is not told of: more may be wanted of it for days.
        f"{backlog('htcgrid_slots_wanted')} > 2 * {_SLOTS}"
        f" and on ({OF_POOL}) {seen('htcgrid_agents_most')} > 2 * count by ({OF_POOL}) (htcgrid_slots)",
        15,
        "ticket",
        "Pool {{ $labels.pool }} has fewer than half of the slots wanted, and of the agents that it may have",
    ),
    Alert(
        "backlog-long",
        f"{backlog('htcgrid_work_seconds')} > 21600 * {_SLOTS}",
        30,
        "ticket",
        "What waits in pool {{ $labels.pool }} takes its slots more than six hours",
    ),
    Alert(
        "agents-not-ready",
        f"sum by ({OF_POOL}) (htcgrid_ready == bool 0) > 0",
        10,
        "page",
        "Agents of pool {{ $labels.pool }} live and cannot work",
    ),
    Alert(
        "agents-lost",
        f"{seen('htcgrid_agents_lost')} > 0.1 * max by ({OF_POOL}) (htcgrid_agents)",
        1,
        "ticket",
        "More than a tenth of the agents of pool {{ $labels.pool }} vanished without a word",
    ),
    Alert(
        "breaker-open",
        f"max by ({OF_POOL}, of) (htcgrid_breaker_open) > 0",
        5,
        "page",
        "Agents claim nothing: the grid keeps failing, or workers cannot start",
    ),
    Alert(
        "bundles-lost",
        increased('htcgrid_bundles_lost_total{reason!="session_ended"}') + " > 10",
        5,
        "ticket",
        "Agents lose their leases",
    ),
    Alert(
        "calls-throttled",
        f'sum by ({OF_GRID}, operation) (rate(htcgrid_aws_calls_total{{answer="throttled"}}[5m])) > 1',
        10,
        "ticket",
        "AWS refuses calls of agents: {{ $labels.operation }}",
    ),
    Alert(
        "tasks-failing",
        f"{_FAILED} > 0.5 * {_ENDED} and {_FAILED} > 20",
        5,
        "ticket",
        "More than half of the tasks that end fail",
    ),
    Alert(
        "workers-crashing",
        increased('htcgrid_workers_lost_total{reason=~"crashed|load_failed|start_failed"}', OF_POOL) + " > 20",
        5,
        "ticket",
        "Workers of pool {{ $labels.pool }} end, or cannot load their function, again and again",
    ),
    Alert(
        "workers-violating",
        f"{increased('htcgrid_worker_violations_total')} > 0",
        0,
        "page",
        "Workers say what is not theirs to say",
    ),
    Alert(
        "overhead-high",
        f"{_OVERHEAD} > {increased('htcgrid_task_seconds_sum', OF_POOL, 30)} and {_OVERHEAD} > 600",
        30,
        "ticket",
        "Slots of pool {{ $labels.pool }} spend more time between handlers than in them",
    ),
    Alert(
        "dead-letters",
        seen('htcgrid_queue_messages{queue="dead", state="waiting"}') + " > 0",
        15,
        "ticket",
        "Bundles of pool {{ $labels.pool }} were received again and again, and nobody finished with them",
    ),
    Alert(
        "messages-late",
        increased('htcgrid_told_total{outcome="later"}') + " > 10",
        15,
        "ticket",
        "Those who are to be told of sessions' ends do not hear it",
    ),
    Alert(
        "messages-refused",
        increased('htcgrid_told_total{outcome="refused"}') + " > 0",
        0,
        "ticket",
        "Whoever was to be told of a session's end did not take it, and is not told again",
    ),
    Alert(
        "reconciler-silent",
        f"{increased('htcgrid_reconciler_ticks_total', OF_GRID, 10)} == 0",
        10,
        "page",
        "No agent has looked after the grid: nothing expires, nothing lost is found, nobody is told",
    ),
)
