"""What OpenLineage is told, and the asset that finished sessions update."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher
from openlineage.client.serde import Serde

from htcgrid_airflow.lineage import place_of
from htcgrid_airflow.operators import HTCGridSubmitOperator
from htcgrid_airflow.triggers import HTCGridSessionsEnded
from htcgrid_core import Grid, RetryPolicy
from tests.airflow.handlers import no_thirteen, triple
from tests.airflow.steps import Step


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


class Kept:
    """An asset's state store, and what was put into it: when the watching began, then the end of each session told."""

    def __init__(self) -> None:
        self.noted: list[float] = []

    async def aget(self, key: str) -> float | None:
        """The newest."""
        return self.noted[-1] if self.noted else None

    async def aset(self, key: str, value: float) -> None:
        """Put it in."""
        self.noted.append(value)


async def payloads(trigger: HTCGridSessionsEnded, kept: Kept, count: int, meanwhile: Any) -> list[Any]:
    """The events of what happens once it watches, until ``kept`` has ``count`` notes."""
    found: list[Any] = []

    async def watch() -> None:
        events = trigger.run()
        while True:
            found.append((await anext(events)).payload)

    store: Any = kept
    trigger.asset_state_store = store
    watching = asyncio.create_task(watch())
    async with asyncio.timeout(120):
        while not kept.noted:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(meanwhile)
        while len(kept.noted) < count:
            await asyncio.sleep(0.01)
    watching.cancel()
    return found


def test_a_finished_session_updates_the_asset(grid_url: str, grid: Grid) -> None:
    grid.submit(triple, [1], labels={"desk": "rates"}).wait(60)  # before anybody watched

    def meanwhile() -> None:
        grid.submit(triple, [1], labels={"desk": "other"}).wait(60)
        grid.submit(no_thirteen, [13], labels={"desk": "rates"}, retry=RetryPolicy(max_attempts=1)).wait(60)
        grid.submit(triple, [1, 2], name="book", labels={"desk": "rates"}).wait(60)

    (event,) = asyncio.run(payloads(ended(grid_url, labels={"desk": "rates"}), Kept(), 2, meanwhile))
    assert (event["name"], event["state"], event["completed"]) == ("book", "COMPLETED", 2)
    assert event["labels"] == {"desk": "rates"}


def test_failed_sessions_too_if_asked(grid_url: str, grid: Grid) -> None:
    def meanwhile() -> None:
        grid.submit(no_thirteen, [13], labels={"desk": "fx"}, retry=RetryPolicy(max_attempts=1)).wait(60)

    trigger = ended(grid_url, labels={"desk": "fx"}, states=["COMPLETED", "FAILED"])
    (event,) = asyncio.run(payloads(trigger, Kept(), 2, meanwhile))
    assert (event["state"], event["failed"]) == ("FAILED", 1)


def test_what_ended_while_no_triggerer_ran_is_told_later(grid_url: str, grid: Grid) -> None:
    """Each end is noted after it was told: a kill in between tells it twice."""
    kept = Kept()
    labels = {"desk": "credit"}

    def one(name: str) -> Any:
        return lambda: grid.submit(triple, [1], name=name, labels=labels).wait(60)

    (first,) = asyncio.run(payloads(ended(grid_url, labels=labels), kept, 2, one("first")))
    one("second")()
    (second,) = asyncio.run(payloads(ended(grid_url, labels=labels), kept, 3, lambda: None))
    assert (first["name"], second["name"]) == ("first", "second")


def test_an_asset_can_be_watched() -> None:
    trigger = HTCGridSessionsEnded(labels={"desk": "rates"}, grid="local://")
    asset = Asset("book", watchers=[AssetWatcher(name="sessions", trigger=trigger)])
    assert asset.watchers
    path, arguments = trigger.serialize()
    assert path == "htcgrid_airflow.triggers.HTCGridSessionsEnded"
    assert HTCGridSessionsEnded(**arguments, whatever_comes_next=1).serialize() == (path, arguments)
