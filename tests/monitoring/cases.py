"""For each alert: series of a grid that it tells of, and series of grids that it leaves in peace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MINUTES = 75  # of every series

Series = Mapping[str, str]  # values in promtool's notation by series, without the labels of whose they are


@dataclass(frozen=True)
class Case:
    """What is shown to one rule.

    Attributes:
        fires: of a grid that is in trouble.
        quiet: of two grids each that are not, though their sums would look as if.
        labels: which the alert has, besides those of whose it is.
        of_grid: whether it is one of the grid's as a whole, and not of a pool.
        meant: of a grid that looks as if it were in trouble, and is as its operator wants it.
    """

    fires: Series
    quiet: Series
    labels: Mapping[str, str] = field(default_factory=dict)
    of_grid: bool = False
    meant: Series = field(default_factory=dict)


def always(value: float) -> str:
    """A gauge."""
    return f"{value}x{MINUTES}"


def by(step: float) -> str:
    """A counter that goes up so much a minute."""
    return f"0+{step}x{MINUTES}"


NEVER = always(0)
CASES: dict[str, Case] = {
    "standing-still": Case(
        # No agent serves the pool: another one's tick shows what waits there.
        {'htcgrid_tasks_pending{priority="low"}': always(5)},
        {'htcgrid_tasks_pending{priority="low"}': always(5), "htcgrid_slots_busy{}": always(1)},
    ),
    "slots-missing": Case(
        {
            'htcgrid_slots_wanted{priority="high"}': always(30),
            "htcgrid_slots{}": always(8),
            "htcgrid_agents_most{}": always(3),
        },
        {
            'htcgrid_slots_wanted{priority="high"}': always(15),
            "htcgrid_slots{}": always(8),
            "htcgrid_agents_most{}": always(3),
        },
        # Scaled down on purpose in the middle of much work: it may have as many agents as there are, or twice as many.
        meant={
            'htcgrid_slots_wanted{priority="high"}': always(3000),
            "htcgrid_slots{}": always(8),
            "htcgrid_agents_most{}": always(2),
        },
    ),
    "backlog-long": Case(
        {'htcgrid_work_seconds{priority="low"}': always(300_000), "htcgrid_slots{}": always(8)},
        {'htcgrid_work_seconds{priority="low"}': always(150_000), "htcgrid_slots{}": always(8)},
    ),
    "agents-not-ready": Case({"htcgrid_ready{}": NEVER}, {"htcgrid_ready{}": always(1)}),
    "agents-lost": Case(
        {"htcgrid_agents_lost{}": always(3), "htcgrid_agents{}": always(20)},
        {"htcgrid_agents_lost{}": always(1), "htcgrid_agents{}": always(20)},
    ),
    "breaker-open": Case(
        {'htcgrid_breaker_open{of="grid"}': always(1)}, {'htcgrid_breaker_open{of="grid"}': NEVER}, {"of": "grid"}
    ),
    "bundles-lost": Case(
        {'htcgrid_bundles_lost_total{reason="refused"}': by(1)},
        {
            'htcgrid_bundles_lost_total{reason="refused"}': by(0.5),
            'htcgrid_bundles_lost_total{reason="session_ended"}': by(100),
        },
        of_grid=True,
    ),
    "calls-throttled": Case(
        {'htcgrid_aws_calls_total{operation="Query", answer="throttled"}': by(90)},
        {'htcgrid_aws_calls_total{operation="Query", answer="throttled"}': by(40)},
        {"operation": "Query"},
        of_grid=True,
    ),
    "tasks-failing": Case(
        {'htcgrid_tasks_total{outcome="completed"}': by(4), 'htcgrid_tasks_total{outcome="failed"}': by(6)},
        {'htcgrid_tasks_total{outcome="completed"}': by(0.1), 'htcgrid_tasks_total{outcome="failed"}': by(1)},
        of_grid=True,
    ),
    "workers-crashing": Case(
        {'htcgrid_workers_lost_total{reason="crashed"}': by(2)},
        {'htcgrid_workers_lost_total{reason="crashed"}': by(1), 'htcgrid_workers_lost_total{reason="stopped"}': by(90)},
    ),
    "workers-violating": Case(
        {'htcgrid_worker_violations_total{what="message"}': "0x10 1x65"},
        {'htcgrid_worker_violations_total{what="message"}': NEVER},
        of_grid=True,
    ),
    "overhead-high": Case(
        {"htcgrid_overhead_seconds_total{}": by(40), "htcgrid_task_seconds_sum{}": by(10)},
        {"htcgrid_overhead_seconds_total{}": by(15), "htcgrid_task_seconds_sum{}": by(10)},
    ),
    "dead-letters": Case(
        {'htcgrid_queue_messages{queue="dead", state="waiting"}': always(1)},
        {
            'htcgrid_queue_messages{queue="dead", state="waiting"}': NEVER,
            'htcgrid_queue_messages{queue="low", state="waiting"}': always(9),
        },
    ),
    "messages-late": Case(
        {'htcgrid_told_total{outcome="later"}': by(1)},
        {'htcgrid_told_total{outcome="later"}': by(0.5), 'htcgrid_told_total{outcome="delivered"}': by(50)},
        of_grid=True,
    ),
    "messages-refused": Case(
        {'htcgrid_told_total{outcome="refused"}': "0x10 1x65"},
        {'htcgrid_told_total{outcome="refused"}': NEVER, 'htcgrid_told_total{outcome="later"}': by(0.5)},
        of_grid=True,
    ),
    "reconciler-silent": Case(
        {"htcgrid_reconciler_ticks_total{}": always(7)}, {"htcgrid_reconciler_ticks_total{}": by(0.5)}, of_grid=True
    ),
}
