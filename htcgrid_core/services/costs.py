"""Costs: of a session, of days, and of a session to be; by what sessions took and the grid's prices."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from htcgrid_core.domain.costs import Cost, CostReport, CostRow, Estimate, SessionCost, cost_of, estimate_of
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.moment import day_after, rfc3339, seconds_of_day
from htcgrid_core.domain.prices import FREE, Prices
from htcgrid_core.domain.session import SessionRecord, tenant_of
from htcgrid_core.domain.tenant_names import stored_name
from htcgrid_core.ports.plane import Plane

TENANT, LABEL = "tenant", "label:"
DAYS = 30  # that are summed up where nobody says which
DAYS_AT_ONCE = 31  # each session that ended in them is read
ROWS_AT_ONCE = 10_000  # a label may have as many values as there are sessions
LOOKED_AT = 10_000  # ends, for earlier sessions of a function: a hundred calls on AWS
ESTIMATE_SECONDS = 90 * 86400.0  # how far back these are looked for

NOTHING = Cost()
_log = logging.getLogger(__name__)


def of_session(plane: Plane, record: SessionRecord) -> SessionCost:
    """What a session cost; of one that goes on, so far."""
    prices, spent = plane.prices(), record.spent
    return SessionCost(record.session_id, cost_of(spent, prices), spent, record.ended, prices.name, prices.note)


def known_prices(plane: Plane) -> Prices:
    """Prices for metrics: none where the file of them is wrong, which stops whoever asks for costs, not work."""
    try:
        return plane.prices()
    except InvalidInput as error:
        _warn(str(error))
        return FREE


@lru_cache(1)
def _warn(problem: str) -> None:
    """Once for each problem: sessions may end by the thousand."""
    _log.warning("metrics count no costs: %s", problem)


def check_by(by: str) -> None:
    """Whether costs can be summed up by this.

    Raises:
        InvalidInput: they cannot.
    """
    if by != TENANT and not (by.startswith(LABEL) and by != LABEL):
        raise InvalidInput(f"costs by {by!r}: they are summed up by {TENANT!r}, or by 'label:NAME'")


@dataclass
class _Sum:
    sessions: int = 0
    tasks: int = 0
    task_seconds: float = 0.0
    cost: Cost = NOTHING


def report(
    plane: Plane,
    first_day: str | None,
    last_day: str | None,
    by: str = TENANT,
    serves: Callable[[str], bool] = lambda _: True,
) -> CostReport:
    """Daily totals of sessions by the days of their ends, by tenant or by the values of a label.

    Args:
        first_day, last_day: as YYYY-MM-DD, in UTC, both in it; None for 30 days, and until today.
        serves: whose sessions count.

    Raises:
        InvalidInput: they cannot be summed up by this, there is no such day, or it is too much at once.
    """
    check_by(by)
    since, until = _within(first_day, last_day or rfc3339(plane.clock.now())[:10])
    prices = plane.prices()
    sums: defaultdict[tuple[str, str], _Sum] = defaultdict(_Sum)
    for entry in plane.audit.ends(since, until):
        tenant, spent = tenant_of(entry.session_id), entry.spent
        if spent is None or not serves(tenant):
            continue
        key = tenant if by == TENANT else spent.labels.get(by.removeprefix(LABEL), "")
        total = sums[rfc3339(entry.at)[:10], key]
        if len(sums) > ROWS_AT_ONCE:
            raise InvalidInput(
                f"costs by {by!r} of these days have more than {ROWS_AT_ONCE:,} rows: ask for fewer days, or by a "
                "label that sessions have in common"
            )
        total.sessions += 1
        total.tasks += spent.tasks
        total.task_seconds += spent.task_seconds
        total.cost += cost_of(spent, prices)
    rows = (CostRow(day, key, one.sessions, one.tasks, one.task_seconds, one.cost) for (day, key), one in sums.items())
    newest_first = sorted(sorted(rows, key=lambda row: row.key), key=lambda row: row.day, reverse=True)
    return CostReport(by, tuple(newest_first), prices.name, prices.note)


def _within(first_day: str | None, last_day: str) -> tuple[float, float]:
    """When these days begin and end."""
    try:
        until = day_after(last_day)
        since = until - DAYS * 86400.0 if first_day is None else seconds_of_day(first_day)
    except ValueError as error:
        raise InvalidInput(f"{error}: a day is written YYYY-MM-DD") from None
    if since >= until:
        raise InvalidInput(f"costs from {first_day} to {last_day}: the first day is after the last")
    if until - since > DAYS_AT_ONCE * 86400.0:
        days = round((until - since) / 86400.0)
        raise InvalidInput(
            f"costs from {first_day} to {last_day} are of {days:,} days: ask for at most {DAYS_AT_ONCE} at once"
        )
    return since, until


def estimate(plane: Plane, function: str, tasks: int, pool: str, tenant: str) -> Estimate:
    """What a session would cost, by the tenant's earlier sessions of the function.

    Args:
        function: without its version.

    Raises:
        InvalidInput: a session has no such number of tasks.
    """
    if tasks < 1:
        raise InvalidInput(f"an estimate for {tasks} tasks: a session has one or more")
    now = plane.clock.now()
    ends = islice(plane.audit.ends(now - ESTIMATE_SECONDS, now + 1), LOOKED_AT)
    names = (function, stored_name(tenant, function))
    earlier = (
        end.spent
        for end in ends
        if end.spent is not None and end.spent.function in names and tenant_of(end.session_id) == tenant
    )
    return estimate_of(earlier, function, tasks, plane.prices(), pool)
