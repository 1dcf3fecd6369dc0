"""Assets between tasks: events and relations as with Prefect's own runner."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from prefect import flow, task, unmapped
from prefect.assets import Asset, materialize
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from htcgrid_prefect import HTCGridTaskRunner
from tests.e2e.support import eventually
from tests.prefect.api import api


def _chain(key: str) -> None:
    """Through a task that makes none, by a parameter inside of a list, and by ``wait_for``."""

    @materialize(Asset(key=f"{key}/raw"))
    def extract() -> int:
        return 50

    @task
    def clean(rows: int) -> int:
        return rows

    @materialize(Asset(key=f"{key}/processed"), by="dbt")
    def load(rows: list[int]) -> int:
        return sum(rows)

    @materialize(Asset(key=f"{key}/report"), asset_deps=[Asset(key=f"{key}/template")])
    def report(number: int) -> int:
        return number

    raw: Any = extract.submit()
    cleaned: Any = clean.submit(raw)
    rows: Any = [cleaned]
    loaded: Any = load.submit(rows)
    last: Any = report
    last.submit(1, wait_for=[loaded]).wait()


def _maps(key: str) -> None:
    """Each call of a map from the one before it, and all from what they share."""

    @materialize(Asset(key=f"{key}/raw"))
    def extract(number: int) -> int:
        return number

    @materialize(Asset(key=f"{key}/curve"))
    def curve() -> float:
        return 1.0

    @materialize(Asset(key=f"{key}/priced"))
    def price(number: int, at: float) -> float:
        return number * at

    price.map(extract.map([1, 2]), unmapped(curve.submit())).wait()


def _none(key: str) -> None:
    """What comes from no task has no relations."""

    @materialize(Asset(key=f"{key}/alone"))
    def alone(number: int) -> int:
        return number

    alone.map([1, 2]).wait()


CASES: dict[Callable[[str], None], int] = {_chain: 6, _maps: 9, _none: 2}  # with how many events there are of each


def _told(url: str, key: str, count: int) -> set[tuple[str, str, tuple[str, ...]]]:
    def found() -> list[dict[str, Any]]:
        wanted = {"event": {"prefix": ["prefect.asset."]}, "resource": {"id_prefix": [key]}}
        events: list[dict[str, Any]] = api(url, "/events/filter", filter=wanted, limit=50)["events"]
        return events if len(events) >= count else []

    told = set()
    for event in eventually(found, f"{count} events of {key}"):
        roles = ("asset", "asset-materialized-by")
        related = [r["prefect.resource.id"] for r in event["related"] if r["prefect.resource.role"] in roles]
        resource = event["resource"]["prefect.resource.id"].removeprefix(key)
        told.add((event["event"], resource, tuple(sorted(name.removeprefix(key) for name in related))))
    return told


def test_lineage_is_that_of_prefects_own_runner(prefect_server: str, shared_grid_url: str) -> None:
    runners: list[TaskRunner[Any]] = [ThreadPoolTaskRunner(), HTCGridTaskRunner(shared_grid_url)]
    keys = {case: [f"s3://{uuid.uuid4()}" for _ in runners] for case in CASES}
    for case in CASES:
        for runner, key in zip(runners, keys[case], strict=True):
            flow(task_runner=runner)(case)(key)
    told = {case: [_told(prefect_server, key, count) for key in keys[case]] for case, count in CASES.items()}
    for threads, grid in told.values():
        assert grid == threads
    materialized = "prefect.asset.materialization.succeeded"
    _, grid = told[_chain]
    assert (materialized, "/processed", ("/raw", "dbt")) in grid
    assert (materialized, "/report", ("/processed", "/template")) in grid
