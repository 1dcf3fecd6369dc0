"""What OpenLineage is told, and the asset that finished sessions update."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher
from openlineage.client.serde import Serde

from htcgrid_airflow.lineage import place_of
from htcgrid_airflow.operators import HTCGridSubmitOperator
from htcgrid_airflow.triggers import HTCGridSessionsEnded
from htcgrid_core import Grid, RetryPolicy
from tests.airflow.steps import Step, no_thirteen, triple


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("s3://aws_default@bucket/book/trades.parquet", ("s3://bucket", "book/trades.parquet")),
        ("/data/trades.jsonl", ("file", "/data/trades.jsonl")),
        ("file:///data/trades.jsonl", ("file", "/data/trades.jsonl")),
        ("inline", None),
        ([1, 2], None),
    ],
)
def test_files_by_openlineages_naming(place: Any, named: Any) -> None:
    assert place_of(place) == named


def test_inputs_outputs_and_the_session(grid_url: str, tmp_path: Path) -> None:
    events, results = tmp_path / "events.jsonl", tmp_path / "results.jsonl"
    events.write_text("1\n2\n")
    operator = HTCGridSubmitOperator(
        task_id="fan_out", grid=grid_url, function=triple, tasks=str(events), result=str(results)
    )
    before = operator.get_openlineage_facets_on_start()
    assert [dataset.name for dataset in before.inputs] == [str(events)]
    manifest = operator.execute(Step().context())
    after = operator.get_openlineage_facets_on_complete(None)
    assert [dataset.name for dataset in after.outputs] == [str(results)]
    facet = json.loads(Serde.to_json(after.run_facets["htcgrid"]))
    assert (facet["session_id"], facet["total"], facet["completed"]) == (manifest["session_id"], 2, 2)


# Asset


def ended(url: str, **arguments: Any) -> HTCGridSessionsEnded:
    """A quick watcher."""
    return HTCGridSessionsEnded(grid=url, **{"poll_interval": 0.05, **arguments})


async def payloads(
    trigger: HTCGridSessionsEnded, count: int, meanwhile: Any, noted: Callable[[], bool] = lambda: True
) -> list[Any]:
    """The first events, of what happens once it watches."""
    found: list[Any] = []

    async def watch() -> None:
        async for event in trigger.run():
            found.append(event.payload)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.3)
    await asyncio.to_thread(meanwhile)
    async with asyncio.timeout(60):
        while len(found) < count or not noted():
            await asyncio.sleep(0.01)
    watching.cancel()
    return found


def test_a_finished_session_updates_the_asset(grid_url: str, grid: Grid) -> None:
    grid.submit(triple, [1], labels={"desk": "rates"}).wait(60)  # before anybody watched

    def meanwhile() -> None:
        grid.submit(triple, [1], labels={"desk": "other"}).wait(60)
        grid.submit(no_thirteen, [13], labels={"desk": "rates"}, retry=RetryPolicy(max_attempts=1)).wait(60)
        grid.submit(triple, [1, 2], name="book", labels={"desk": "rates"}).wait(60)

    (event,) = asyncio.run(payloads(ended(grid_url, labels={"desk": "rates"}), 1, meanwhile))
    assert (event["name"], event["state"], event["completed"]) == ("book", "COMPLETED", 2)
    assert event["labels"] == {"desk": "rates"}


def test_failed_sessions_too_if_asked(grid_url: str, grid: Grid) -> None:
    def meanwhile() -> None:
        grid.submit(no_thirteen, [13], labels={"desk": "fx"}, retry=RetryPolicy(max_attempts=1)).wait(60)

    trigger = ended(grid_url, labels={"desk": "fx"}, states=["COMPLETED", "FAILED"])
    (event,) = asyncio.run(payloads(trigger, 1, meanwhile))
    assert (event["state"], event["failed"]) == ("FAILED", 1)


def test_what_ended_while_no_triggerer_ran_is_told_later(grid_url: str, grid: Grid) -> None:
    kept: dict[str, Any] = {}
    noted: list[float] = []

    async def aget(key: str) -> Any:
        return kept.get(key)

    async def aset(key: str, value: Any) -> None:
        kept[key] = value
        noted.append(value)

    def watching() -> HTCGridSessionsEnded:
        trigger = ended(grid_url, labels={"desk": "credit"})
        store: Any = SimpleNamespace(aget=aget, aset=aset)
        trigger.asset_state_store = store
        return trigger

    def one(name: str) -> Any:
        return lambda: grid.submit(triple, [1], name=name, labels={"desk": "credit"}).wait(60)

    # It is noted when the watching began, and each end after it was told: a kill in between tells it twice.
    (first,) = asyncio.run(payloads(watching(), 1, one("first"), lambda: len(noted) == 2))
    one("second")()
    (second,) = asyncio.run(payloads(watching(), 1, lambda: None))
    assert (first["name"], second["name"]) == ("first", "second")


def test_an_asset_can_be_watched() -> None:
    trigger = HTCGridSessionsEnded(labels={"desk": "rates"}, grid="local://")
    asset = Asset("book", watchers=[AssetWatcher(name="sessions", trigger=trigger)])
    assert asset.watchers
    path, arguments = trigger.serialize()
    assert path == "htcgrid_airflow.triggers.HTCGridSessionsEnded"
    assert HTCGridSessionsEnded(**arguments, whatever_comes_next=1).serialize() == (path, arguments)
