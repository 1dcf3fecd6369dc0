"""The catalogue of metrics: everything that is counted, in which unit, and every value that a label may have.

Prometheus's page, CloudWatch's lines, dashboards, alert rules and docs/metrics.md are made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

OTHER: Final = "other"  # what a label says instead of a value that is not in the catalogue
ANY: Final = ()  # values of a label that an operator has chosen, and that are few: names of pools


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric.

    Attributes:
        name: as Prometheus has it; it ends with the unit, unless that is a count of things.
        help: what it tells, for people.
        labels: each label's values, or ANY, so that nobody adds a time series for each session or task.
        buckets: upper bounds of a histogram.
        of: whose it is: what agents count is added up; of a pool or the whole grid, whoever looks tells the same.
        billed: the labels that CloudWatch gets as dimensions, where each combination of values is paid for as a metric
            of its own; None for all of them.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    of: Literal["agent", "pool", "grid"] = "agent"
    billed: tuple[str, ...] | None = None

    @property
    def unit(self) -> Literal["seconds", "dollars", "bytes", "count"]:
        """What it is measured in, by its name, as Prometheus's conventions have it."""
        if "_dollars" in self.name:
            return "dollars"
        if self.name.endswith("_bytes"):
            return "bytes"
        return "seconds" if "_seconds" in self.name else "count"

    @property
    def cloudwatch_name(self) -> str:
        """As CloudWatch's own metrics are named: without prefix, and without what Prometheus's suffixes say."""
        words = self.name.removeprefix("htcgrid_").removesuffix("_total").split("_")
        return "".join(word.capitalize() for word in words)


# Tasks and bundles
TASKS: Final = Metric(
    "htcgrid_tasks_total",
    "counter",
    "Attempts of tasks that this agent committed; those retried have attempts left and run again",
    {"outcome": ("completed", "failed", "retried")},
)
TASK_SECONDS: Final = Metric(
    "htcgrid_task_seconds",
    "histogram",
    "How long handlers ran, of tasks that completed or failed for good",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0),
)
RETRIES: Final = Metric(
    "htcgrid_retries_total",
    "counter",
    "Attempts of tasks that did not end them, by what came between: error (the handler's, or a result that cannot be "
    "encoded); timeout; worker (its process ended); load (its function could not be loaded); agent (its agent had "
    "vanished with it)",
    {"kind": ("error", "timeout", "worker", "load", "agent")},
)
OVERHEAD_SECONDS: Final = Metric(
    "htcgrid_overhead_seconds_total",
    "counter",
    "Seconds for which slots had tasks and ran no handler: loading, handing over, collecting",
)
HINTS: Final = Metric("htcgrid_hints_received_total", "counter", "Messages that the agent took from its pool's queue")
CLAIMS: Final = Metric(
    "htcgrid_claims_total",
    "counter",
    "Claims of bundles, by the store's answer: granted; over (done, or its session has ended); leased by another "
    "agent; early (its retry delay is not over); unknown (there is no such session, or not yet)",
    {"answer": ("granted", "over", "leased", "early", "newer", "unknown")},
)
COMMITS: Final = Metric("htcgrid_commits_total", "counter", "Commits of bundles, each with its counters and children")
BUNDLES_LOST: Final = Metric(
    "htcgrid_bundles_lost_total",
    "counter",
    "Bundles dropped with what was not committed: not renewed in time; renewal or commit refused, since another agent "
    "has the bundle; their session has ended",
    {"reason": ("not_renewed", "refused", "session_ended")},
)
LEASE_RENEWALS: Final = Metric(
    "htcgrid_lease_renewals_total",
    "counter",
    "Leases by what came of renewing them: held; lost to another agent; unknown, since the grid did not answer",
    {"answer": ("held", "lost", "unknown")},
)

QUEUE_WAIT_SECONDS: Final = Metric(
    "htcgrid_queue_wait_seconds",
    "histogram",
    "How long bundles waited for the agent that claimed them: since they were announced, or due if that was later; of "
    "bundles of an embedded grid that another agent handed back, nobody knows",
    buckets=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0),
)

# Sessions
SESSIONS_ENDED: Final = Metric(
    "htcgrid_sessions_ended_total",
    "counter",
    "Sessions that this agent has ended: by the last commit, by a tick of the reconciler, or since it cancelled them",
    {"state": ("COMPLETED", "FAILED", "CANCELLED")},
)
SESSION_SECONDS: Final = Metric(
    "htcgrid_session_seconds",
    "histogram",
    "How long these took, from their submission on",
    buckets=(0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0, 10800.0, 43200.0, 86400.0),
)

COST_DOLLARS: Final = Metric(
    "htcgrid_cost_dollars_total",
    "counter",
    "Estimated dollars of these, by the grid's prices: requests, compute and storage",
    {"part": ("requests", "compute", "storage")},
)

# Slots and workers
SLOTS: Final = Metric("htcgrid_slots", "gauge", "Tasks that the agent can run at once")
SLOTS_BUSY: Final = Metric("htcgrid_slots_busy", "gauge", "Slots that have a task")
LEASES: Final = Metric("htcgrid_leases", "gauge", "Bundles that the agent holds")
MEMORY_BYTES: Final = Metric(
    "htcgrid_memory_bytes",
    "gauge",
    "Resident memory of the agent and its workers together, what they share counted in each; absent where nobody says",
)
MEMORY_LIMIT_BYTES: Final = Metric(
    "htcgrid_memory_limit_bytes", "gauge", "Memory that these may have: of their container, or of the machine"
)
WORKERS_STARTED: Final = Metric(
    "htcgrid_workers_started_total",
    "counter",
    "Worker processes started, by what they speak: the native protocol, or the Lambda Runtime API",
    {"kind": ("native", "runtime_api")},
)
WORKERS_LOST: Final = Metric(
    "htcgrid_workers_lost_total",
    "counter",
    "Workers that ended before their agent let them go: crashed; over the task's time limit; stopped, since their "
    "session has ended or their lease was lost; could not load their function; could not start",
    {"reason": ("crashed", "timeout", "stopped", "load_failed", "start_failed")},
)
WORKER_VIOLATIONS: Final = Metric(
    "htcgrid_worker_violations_total",
    "counter",
    "What workers said that was not theirs to say, by where: messages that are none; outcomes of tasks that they were "
    "not given, or that cannot be; a shared page that says what cannot be; connections of others to their ports; "
    "answers to invocations that they were not given, or had answered; requests that nobody could answer; or that "
    "they said nothing for a minute of a task that they had to run. The first three and the last two cost the worker "
    "its life",
    {"what": ("message", "outcomes", "gauge", "connection", "answer", "request", "silence")},
)

# The agent's condition
READY: Final = Metric("htcgrid_ready", "gauge", "1 if the agent can claim work, as /readyz says")
DRAINING: Final = Metric("htcgrid_draining", "gauge", "1 if the agent was asked to leave")
BREAKER_OPEN: Final = Metric(
    "htcgrid_breaker_open",
    "gauge",
    "1 while the agent claims nothing: the grid keeps failing, or workers cannot start",
    {"of": ("grid", "workers")},
)
AGENTS: Final = Metric("htcgrid_agents", "gauge", "Agents of this pool, as of this agent's last heartbeat", of="pool")

# The reconciler
RECONCILER_TICKS: Final = Metric("htcgrid_reconciler_ticks_total", "counter", "Ticks of the reconciler in this process")
RECONCILED: Final = Metric(
    "htcgrid_reconciled_total",
    "counter",
    "What the reconciler found and did: sessions ended, stalled submissions aborted, bundles announced again, expired "
    "sessions deleted",
    {"what": ("ended", "aborted", "resent", "expired")},
)
DEAD_LETTERS: Final = Metric(
    "htcgrid_dead_letters_total",
    "counter",
    "Dead letters dealt with: sent again; their tasks FAILED; dropped, since there was nothing left to do",
    {"what": ("redriven", "failed", "dropped")},
)
TOLD: Final = Metric(
    "htcgrid_told_total",
    "counter",
    "Messages of sessions' ends, marks and heartbeats to those who asked for them, by what came of each: delivered; "
    "later, since nobody heard it this time; refused for good, or given up",
    {"outcome": ("delivered", "later", "refused")},
)

# The grid as a whole, seen by the reconciler; shown by whichever agents did a tick lately
SESSIONS_LIVE: Final = Metric(
    "htcgrid_sessions_live",
    "gauge",
    "Sessions that have not ended, as of a tick of the reconciler in the last 30 seconds, by their age: less than a "
    "minute, an hour, a day, or older; absent without a tick",
    {"state": ("SUBMITTED", "RUNNING", "CANCELLING"), "age": ("minute", "hour", "day", "older")},
    of="grid",
)
TASKS_PENDING: Final = Metric(
    "htcgrid_tasks_pending",
    "gauge",
    "Tasks of live sessions that have not ended, likewise: the backlog",
    {"pool": ANY, "priority": ("high", "normal", "low")},
    of="grid",
)
SLOTS_WANTED: Final = Metric(
    "htcgrid_slots_wanted",
    "gauge",
    "Slots that live sessions could use, likewise: what a scaler looks at",
    {"pool": ANY, "priority": ("high", "normal", "low")},
    of="grid",
)
WORK_SECONDS: Final = Metric(
    "htcgrid_work_seconds",
    "gauge",
    "Seconds that one slot would take for the tasks of live sessions that have not ended, likewise, by the tasks that "
    "have",
    {"pool": ANY, "priority": ("high", "normal", "low")},
    of="grid",
)
OLDEST_SESSION_SECONDS: Final = Metric(
    "htcgrid_oldest_session_seconds",
    "gauge",
    "Age of the oldest live session in a state, likewise; 0 if there is none",
    {"state": ("SUBMITTED", "RUNNING", "CANCELLING")},
    of="grid",
)
LIVE_COST_DOLLARS: Final = Metric(
    "htcgrid_live_cost_dollars",
    "gauge",
    "Estimated dollars that live sessions have cost so far, likewise",
    of="grid",
)
AGENTS_LOST: Final = Metric(
    "htcgrid_agents_lost",
    "gauge",
    "Agents that were heard of in the last five minutes, and not for a lease time, and did not say that they leave, "
    "likewise",
    {"pool": ANY},
    of="grid",
)
QUEUE_MESSAGES: Final = Metric(
    "htcgrid_queue_messages",
    "gauge",
    "Messages in the queues of the agent's pool, likewise, as SQS guesses: waiting, hidden since somebody has them, or "
    "delayed; some are bells, which name no bundle",
    {"queue": ("high", "normal", "low", "dead"), "state": ("waiting", "hidden", "delayed")},
    of="pool",
)
AGENTS_MOST: Final = Metric(
    "htcgrid_agents_most",
    "gauge",
    "Agents that the pool may be scaled to, likewise, as the grid's parameter says at that tick; on AWS",
    of="pool",
)

# AWS
AWS_OPERATIONS: Final = (  # of the grid's own parts; messages to recipients of sessions' ends go by the name of other
    "BatchGetItem", "BatchWriteItem", "ChangeMessageVisibilityBatch", "DeleteItem", "DeleteMessageBatch",
    "DeleteObjects", "GetItem", "GetObject", "GetParameter", "GetParametersByPath", "GetQueueAttributes", "HeadObject",
    "ListObjectsV2", "PutItem", "PutObject", "Query", "ReceiveMessage", "SendMessageBatch", "TransactGetItems",
    "TransactWriteItems", "UpdateItem", OTHER,
)  # fmt: skip
AWS_CALLS: Final = Metric(
    "htcgrid_aws_calls_total",
    "counter",
    "Requests to AWS, repeated ones included: ok; refused (a condition that failed, or a 4xx); throttled; failed (a "
    "5xx, or no answer)",
    {"operation": AWS_OPERATIONS, "answer": ("ok", "refused", "throttled", "failed")},
    billed=("answer",),
)
AWS_CALL_SECONDS: Final = Metric(
    "htcgrid_aws_call_seconds",
    "histogram",
    "How long requests to AWS took; ReceiveMessage waits for up to 20 seconds",
    {"operation": AWS_OPERATIONS},
    buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
    billed=(),
)

CATALOGUE: Final[tuple[Metric, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
