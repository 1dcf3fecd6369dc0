"""Costs: of sessions, of days, and of sessions to be. All are dollars."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from htcgrid_core.api.models.fields import Count, Model, Query, Tenant, number
from htcgrid_core.domain.limits import MAX_SESSION_TASKS

Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class Cost(Model):
    """Dollars.

    Attributes:
        requests: of queues, table and bucket, reckoned from counted bundles, commits and bytes.
        compute: of the seconds that tasks ran, by their pool's price.
        storage: of events and results until they expire.
    """

    total: float
    requests: float
    compute: float
    storage: float


class SessionCost(Model):
    """What a session cost, or, unless it is final, has cost so far.

    Attributes:
        prices: region and date of the price list.
        note: what is not in it.
    """

    session: str
    cost: Cost
    is_final: bool
    tasks: Count
    task_seconds: float
    prices: str
    note: str


class CostsQuery(Query):
    """Which days (UTC, both in it), and by what they are summed up: ``tenant``, or ``label:NAME``."""

    from_: Day | None = Field(default=None, alias="from")
    to: Day | None = None
    by: Annotated[str, Field(pattern=r"^(tenant|label:.+)$", max_length=300)] = "tenant"


class CostRow(Model):
    """A day's ended sessions of one tenant, or with one value of a label; of none, where ``key`` is empty."""

    day: str
    key: str
    sessions: Count
    tasks: Count
    task_seconds: float
    cost: Cost


class Costs(Model):
    """Daily totals, newest day first."""

    by: str
    rows: list[CostRow]
    prices: str
    note: str


class EstimateQuery(Query):
    """Of which session to be: of a function, without its version, with so many tasks."""

    function: str = Field(min_length=1, max_length=512)
    tasks: Annotated[int, Field(ge=1, le=MAX_SESSION_TASKS), BeforeValidator(number)]
    pool: str = Field(default="default", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    tenant: Tenant | None = None


class Estimate(Model):
    """By the median of earlier sessions of the function.

    Attributes:
        sessions: on how many it rests.
        cost: null if there are none: then nothing is known.
        low, high: dollars, by the cheapest and the dearest quarter of them.
        task_seconds: of all tasks together.
    """

    function: str
    tasks: Count
    sessions: Count
    cost: Cost | None
    low: float
    high: float
    task_seconds: float
    prices: str
    note: str
