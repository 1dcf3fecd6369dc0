"""Costs of many days, which a grid sums up a month at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from htcgrid_core.domain.costs import CostReport
from htcgrid_core.domain.limits import COSTS_SECONDS
from htcgrid_core.domain.moment import rfc3339, seconds_of_day

DAY = 86400.0
DAYS = 30  # a day less than a grid takes: its clock may be in another day than this one's
Period = tuple[str | None, str | None]


def summed_up(ask: Callable[[str | None, str | None], CostReport], since: str | None, until: str | None) -> CostReport:
    """Ask for each period, newest first."""
    reports = [ask(*period) for period in periods(since, until, time.time())]
    return replace(reports[0], rows=tuple(row for report in reports for row in report.rows))


def periods(since: str | None, until: str | None, now: float) -> list[Period]:
    """First and last days, newest first; what is no range of days is left to the grid to refuse.

    Args:
        now: wall clock (s): nobody knows of days longer ago than ends are kept.
    """
    if since is None:
        return [(since, until)]
    try:
        first, last = seconds_of_day(since), seconds_of_day(until or _day(now))
    except ValueError:
        return [(since, until)]
    first = max(first, min(last, now - COSTS_SECONDS - DAY))
    found: list[Period] = []
    while last - first >= DAYS * DAY:
        begin = last - (DAYS - 1) * DAY
        found.append((_day(begin), until))
        last = begin - DAY
        until = _day(last)
    return [*found, (_day(first), until)]


def _day(moment: float) -> str:
    return rfc3339(moment)[:10]
