"""The dashboards: what an operator asks of a grid, and every metric."""

from __future__ import annotations

from htcgrid_core.domain import metrics
from tools.monitoring.panels import Dashboard, Panel, Query, Row, catalogue, quantile, rate, selected, shown

_ENDED = rate(metrics.TASKS, more='outcome!="retried"')
_FAILED = rate(metrics.TASKS, more='outcome="failed"')
_RAN = rate(metrics.TASK_SECONDS, suffix="_sum")
_OVERHEAD = rate(metrics.OVERHEAD_SECONDS)
_MEMORY = selected(metrics.MEMORY_BYTES)

GRID = Dashboard(
    "grid",
    "HTC-Grid: a grid",
    (
        Row(
            "Now",
            (
                Panel("Live sessions", "short", (Query(shown(metrics.SESSIONS_LIVE, ""), "sessions"),), kind="stat"),
                Panel(
                    "Tasks that wait or run", "short", (Query(shown(metrics.TASKS_PENDING, ""), "tasks"),), kind="stat"
                ),
                Panel(
                    "The backlog, at this many slots",
                    "dtdurations",
                    (Query(f"{shown(metrics.WORK_SECONDS, '')} / {shown(metrics.SLOTS, '')}", "time"),),
                    "What is left of live sessions, by the tasks that have ended, shared out over these slots",
                    kind="stat",
                ),
                Panel("Agents", "short", (Query(f"count({selected(metrics.SLOTS)})", "agents"),), kind="stat"),
            ),
        ),
        Row(
            "Work",
            (
                Panel(
                    "Tasks a second", "ops", (Query(rate(metrics.TASKS, "outcome"), "{{outcome}}"),), is_stacked=True
                ),
                Panel(
                    "Share of tasks that fail",
                    "percentunit",
                    (Query(f"{_FAILED} / {_ENDED}", "failed"),),
                ),
                Panel("Retries a second", "ops", (Query(rate(metrics.RETRIES, "kind"), "{{kind}}"),), is_stacked=True),
                Panel(
                    "How long tasks take",
                    "s",
                    tuple(Query(quantile(metrics.TASK_SECONDS, share), f"{share:.0%}") for share in (0.5, 0.9, 0.99)),
                ),
            ),
        ),
        Row(
            "Waiting",
            (
                Panel(
                    "How long bundles wait for an agent",
                    "s",
                    tuple(Query(quantile(metrics.QUEUE_WAIT_SECONDS, s), f"{s:.0%}") for s in (0.5, 0.9, 0.99)),
                ),
                Panel(
                    "Backlog in tasks",
                    "short",
                    (Query(shown(metrics.TASKS_PENDING, "pool, priority"), "{{pool}} {{priority}}"),),
                    is_stacked=True,
                ),
                Panel(
                    "Backlog in seconds of one slot",
                    "s",
                    (Query(shown(metrics.WORK_SECONDS, "pool, priority"), "{{pool}} {{priority}}"),),
                    is_stacked=True,
                ),
                Panel(
                    "Live sessions by age",
                    "short",
                    (Query(shown(metrics.SESSIONS_LIVE, "age"), "{{age}}"),),
                    "Less than a minute, an hour, a day, or older",
                    is_stacked=True,
                ),
            ),
        ),
        Row(
            "Slots",
            (
                Panel(
                    "Slots",
                    "short",
                    (
                        Query(shown(metrics.SLOTS, "pool"), "{{pool}} there"),
                        Query(shown(metrics.SLOTS_BUSY, "pool"), "{{pool}} busy"),
                        Query(shown(metrics.SLOTS_WANTED, "pool"), "{{pool}} wanted"),
                    ),
                ),
                Panel(
                    "Overhead: time of slots with tasks that no handler ran",
                    "percentunit",
                    (Query(f"{_OVERHEAD} / ({_OVERHEAD} + {_RAN})", "overhead"),),
                ),
                Panel(
                    "Memory of agents and their workers",
                    "bytes",
                    (Query(shown(metrics.MEMORY_BYTES, "pool"), "{{pool}}"),),
                ),
                Panel(
                    "Memory of the fullest agent, of what it may have",
                    "percentunit",
                    (Query(f"max by (pool) ({_MEMORY} / {selected(metrics.MEMORY_LIMIT_BYTES)})", "{{pool}}"),),
                    "What it may have is its container's, or all of its machine, which others may share",
                ),
                Panel("Agents that vanished", "short", (Query(shown(metrics.AGENTS_LOST, "pool"), "{{pool}}"),)),
                Panel("Bundles lost a second", "ops", (Query(rate(metrics.BUNDLES_LOST, "reason"), "{{reason}}"),)),
            ),
        ),
        Row(
            "Cost, estimated",
            (
                Panel(
                    "Of sessions that ended, an hour",
                    "currencyUSD",
                    (Query(f"3600 * {rate(metrics.COST_DOLLARS, 'part')}", "{{part}}"),),
                    is_stacked=True,
                ),
                Panel(
                    "Of live sessions so far", "currencyUSD", (Query(shown(metrics.LIVE_COST_DOLLARS, ""), "dollars"),)
                ),
            ),
        ),
        Row(
            "AWS",
            (
                Panel(
                    "Calls a second",
                    "ops",
                    (Query(rate(metrics.AWS_CALLS, "operation"), "{{operation}}"),),
                    is_stacked=True,
                ),
                Panel(
                    "Calls that AWS throttles or fails, a second",
                    "ops",
                    (
                        Query(
                            rate(metrics.AWS_CALLS, "operation, answer", 'answer=~"throttled|failed"'),
                            "{{operation}} {{answer}}",
                        ),
                    ),
                ),
                Panel(
                    "Messages in the queues",
                    "short",
                    (Query(shown(metrics.QUEUE_MESSAGES, "pool, queue, state"), "{{pool}} {{queue}} {{state}}"),),
                ),
                Panel(
                    "Workers that end, a second", "ops", (Query(rate(metrics.WORKERS_LOST, "reason"), "{{reason}}"),)
                ),
            ),
        ),
    ),
)

DASHBOARDS = (GRID, catalogue())
