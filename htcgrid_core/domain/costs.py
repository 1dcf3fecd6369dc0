"""Costs: dollars of what sessions took, by a table of prices.

Requests are not logged one by one. They are reckoned from what is counted with each write: bundles, commits and bytes;
by the calls and units that the protocol makes for them, as docs/aws.md has them measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from statistics import median, quantiles

from htcgrid_core.domain import limits
from htcgrid_core.domain.prices import Prices
from htcgrid_core.domain.spent import Spent

SQS_REQUESTS = 2.1  # a bundle: a tenth of a batch to send its message; to receive and to delete it, a call each
SESSION_WRITE_UNITS = 14.0  # its row with its index entries, and the audit of its submit and its end
SESSION_READ_UNITS = 12.0
BUNDLE_READ_UNITS = 8.0  # its claim and its commit, and what heartbeats and polls take meanwhile
ROW_WRITE_UNITS = 1.0  # a commit, of the session's row: two, which commits that come together share
EVENTS_ITEM_BYTES, OUTCOMES_ITEM_BYTES = 135, 190  # of a bundle's items beside their payloads
DEFLATED = 0.75  # of a payload in the table: that of texts which are badly compressible
WRITE_UNIT_BYTES, READ_UNIT_BYTES = 1024, 4096
INPUT_OBJECT_BYTES = 4 << 20  # events of many bundles share an object
MONTH_SECONDS, GB = 30.4375 * 86400, 1e9
EARLIER = 20  # sessions of a function on which an estimate rests, at most


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars.

    Attributes:
        requests: of the queues, the table and the bucket.
        compute: of the seconds that tasks ran, by their pool's price. Idle slots are nobody's.
        storage: of events and results until they expire.
    """

    requests: float = 0.0
    compute: float = 0.0
    storage: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.requests + self.compute + self.storage

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.requests + other.requests, self.compute + other.compute, self.storage + other.storage)

    def times(self, factor: float) -> Cost:
        """So many times as much."""
        return Cost(self.requests * factor, self.compute * factor, self.storage * factor)


@dataclass(frozen=True, slots=True)
class SessionCost:
    """What a session cost, or has cost so far.

    Attributes:
        is_final: whether it has ended.
        prices: which, and of when.
        note: what is not in it.
    """

    session_id: str
    cost: Cost
    spent: Spent
    is_final: bool
    prices: str
    note: str


@dataclass(frozen=True, slots=True)
class CostRow:
    """A day's sessions of one tenant, or with one value of a label.

    Attributes:
        day: of their ends, in UTC, as YYYY-MM-DD.
        key: the tenant, or the label's value; empty for sessions without the label.
    """

    day: str
    key: str
    sessions: int
    tasks: int
    task_seconds: float
    cost: Cost


@dataclass(frozen=True, slots=True)
class CostReport:
    """Daily totals, newest day first.

    Attributes:
        by: ``tenant``, or ``label:NAME``.
    """

    by: str
    rows: tuple[CostRow, ...]
    prices: str
    note: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a session would cost, by earlier ones of its function.

    Attributes:
        sessions: on how many it rests; of none, nothing is known.
        cost: by the median of them; None if nothing is known.
        low, high: dollars, by the cheapest and the dearest quarter of them.
        task_seconds: of all its tasks, by the median.
    """

    function: str
    tasks: int
    sessions: int
    cost: Cost | None
    low: float
    high: float
    task_seconds: float
    prices: str
    note: str


def cost_of(spent: Spent, prices: Prices) -> Cost:
    """Dollars of a session.

    Args:
        prices: those of a grid that pays for no requests have none.
    """
    slot_second = prices.slot_hour_of(spent.pool) / 3600
    return Cost(_requests(spent, prices), spent.task_seconds * slot_second, _storage(spent, prices))


def estimate_of(earlier: Iterable[Spent], function: str, tasks: int, prices: Prices, pool: str) -> Estimate:
    """By the dollars a task of earlier sessions of the function, newest first, in whatever pool they ran."""
    found = list(islice((one for one in earlier if one.tasks), EARLIER))  # what is behind them is not read
    if not found:
        return Estimate(function, tasks, 0, None, 0.0, 0.0, 0.0, prices.name, prices.note)
    each = sorted((_scaled(one, tasks, prices, pool) for one in found), key=lambda cost: cost.total)
    totals = [cost.total for cost in each]
    low, _, high = quantiles(totals, n=4, method="inclusive") if len(totals) > 1 else (totals[0],) * 3
    seconds = median(one.task_seconds / one.tasks * tasks for one in found)
    middle = (each[(len(each) - 1) // 2] + each[len(each) // 2]).times(0.5)
    return Estimate(function, tasks, len(found), middle, low, high, seconds, prices.name, prices.note)


def _scaled(spent: Spent, tasks: int, prices: Prices, pool: str) -> Cost:
    """A session's dollars as if it had had so many tasks, in another pool."""
    cost, share = cost_of(spent, prices), tasks / spent.tasks
    compute = spent.task_seconds * share * prices.slot_hour_of(pool) / 3600
    return Cost(cost.requests * share, compute, cost.storage * share)


def _requests(spent: Spent, prices: Prices) -> float:
    usage = spent.usage
    bundles, commits = max(1, spent.bundles), max(usage.commits, 0)
    events, outcomes = usage.input_bytes / bundles, _inline_bytes(spent)
    events_inline = events if events <= limits.AWS_INLINE_PAYLOAD_BYTES else 0.0
    # A bundle's events, and its claim; then commits, which are transactions and pay twice.
    write_units = SESSION_WRITE_UNITS + bundles * (_units(events_inline, EVENTS_ITEM_BYTES) + 1)
    write_units += commits * (2 * _units(outcomes, OUTCOMES_ITEM_BYTES) + ROW_WRITE_UNITS)
    read_units = SESSION_READ_UNITS + bundles * BUNDLE_READ_UNITS
    read_units += bundles * (events_inline // READ_UNIT_BYTES) + commits * (outcomes // READ_UNIT_BYTES)
    objects = 0 if events_inline else math.ceil(usage.input_bytes / INPUT_OBJECT_BYTES)
    calls = {
        "PutObject": objects + usage.output_blobs,
        "GetObject": (bundles if objects else 0) + usage.output_blobs,
        "SendMessage": round(SQS_REQUESTS * max(bundles, commits)),
    }
    return prices.dollars(calls, write_units, read_units)


def _inline_bytes(spent: Spent) -> float:
    """Of a commit whose outcomes are in the table."""
    usage = spent.usage
    if usage.commits <= usage.output_blobs:
        return 0.0
    return min(usage.output_bytes / usage.commits, limits.AWS_INLINE_PAYLOAD_BYTES)


def _units(payload_bytes: float, item_bytes: int) -> int:
    return math.ceil((payload_bytes * DEFLATED + item_bytes) / WRITE_UNIT_BYTES)


def _storage(spent: Spent, prices: Prices) -> float:
    usage, months = spent.usage, spent.kept_seconds / MONTH_SECONDS
    in_table = _inline_bytes(spent) * (usage.commits - usage.output_blobs)
    events = usage.input_bytes
    if events / max(1, spent.bundles) <= limits.AWS_INLINE_PAYLOAD_BYTES:
        in_table, events = in_table + events, 0
    in_bucket = events + max(0.0, usage.output_bytes - _inline_bytes(spent) * (usage.commits - usage.output_blobs))
    return months * (in_table * prices.table_gb_month + in_bucket * prices.bucket_gb_month) / GB
