"""Which grids the page in Airflow's UI opens, and as whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task
from airflow.serialization.serialized_objects import DagSerialization

from htcgrid_airflow.operators import HTCGridResultsOperator, HTCGridSubmitOperator
from htcgrid_airflow.ui import grids
from htcgrid_airflow.ui.named_grids import urls_in
from htcgrid_core import Grid, UnknownGrid, connect


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, Any]]:
    """URL and AWS session of each connection that the page makes; there is a good one, and one that names no grid."""
    made: list[tuple[str, Any]] = []

    def connected(url: str, *, aws_session: Any, create: bool, **_: Any) -> Grid:
        assert not create, "whoever only looks makes no grid"
        made.append((url, aws_session))
        return connect(f"local://{tmp_path}")

    for conn_id, conn_type, fields in (
        ("broken", "htcgrid", {}),
        ("prod_grid", "htcgrid", {"extra": {"grid": "aws://prod?region=eu-west-1", "aws_conn_id": "prod_aws"}}),
        ("prod_aws", "aws", {"login": "a-key", "password": "a-secret"}),
    ):
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": conn_type, **fields}))
    monkeypatch.setattr("htcgrid_airflow.hooks.connect", connected)
    monkeypatch.setattr(grids, "connection_ids", lambda: ["broken", "prod_grid"])
    monkeypatch.setattr(grids, "_connected", {})
    return made


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say which URLs the operators of DAGs name: ``named(DAG=URLS)``."""

    def by_dag(**urls: Collection[str]) -> None:
        def of(dag_ids: Collection[str]) -> set[str]:
            return {url for dag_id in dag_ids for url in urls.get(dag_id, ())}

        monkeypatch.setattr(grids.named, "of", of)

    return by_dag


def test_a_grid_is_opened_once_with_the_credentials_that_its_connection_borrows(opened: list[tuple[str, Any]]) -> None:
    assert grids.grid("prod_grid") is grids.grid_of_task("aws://prod?region=eu-west-1", "any")
    ((url, session),) = opened
    assert (url, session.get_credentials().access_key) == ("aws://prod?region=eu-west-1", "a-key")


def test_only_grids_that_a_connection_or_an_operator_names_are_opened(
    opened: list[tuple[str, Any]], named: Callable[..., None]
) -> None:
    named(other=("local:///named-elsewhere",))
    for url in ("aws://another?region=eu-west-1", "local:///named-elsewhere"):
        with pytest.raises(UnknownGrid, match="neither an Airflow connection of type htcgrid nor"):
            grids.grid_of_task(url, "book")
    with pytest.raises(UnknownGrid, match="no operator of a DAG that you may read names"):
        grids.grid_named("local:///named-elsewhere", {"book"})
    with pytest.raises(UnknownGrid, match="no Airflow connection 'prod_aws' of type htcgrid"):
        grids.grid("prod_aws")
    assert not opened


def test_a_grid_that_an_operator_names_needs_no_connection(
    opened: list[tuple[str, Any]], named: Callable[..., None]
) -> None:
    named(book=("local:///book", "aws://prod?region=eu-west-1"))
    assert grids.urls({"book"}) == ["local:///book"], "a connection leads to the other"
    assert grids.urls(set()) == []
    assert grids.grid_named("local:///book", {"book"}) is grids.grid_of_task("local:///book", "book")
    assert opened == [("local:///book", None)]


def test_without_any_there_is_the_embedded_grid(
    opened: list[tuple[str, Any]], named: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    named()
    monkeypatch.setattr(grids, "connection_ids", list)
    assert grids.urls({"book"}) == ["local://"]
    assert grids.grid_named("local://", set()) is grids.grid_of_task("local://", "book")
    assert opened == [("local://", None)]


def test_looking_makes_no_grid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(grids, "_connected", {})
    monkeypatch.setattr(grids, "connection_ids", list)
    monkeypatch.setenv("HTCGRID_HOME", str(tmp_path / "none"))
    with pytest.raises(UnknownGrid, match=r"there is no grid in .* on this machine"):
        grids.grid_of_task("local://", "book")
    assert not list(tmp_path.iterdir())


def test_what_the_operators_of_a_serialized_dag_name() -> None:
    with DAG("book", schedule=None) as book:
        step: dict[str, Any] = {"function": "pricing.handler", "tasks": [1]}
        HTCGridSubmitOperator(task_id="plain", grid="local:///plain", **step)
        HTCGridSubmitOperator(task_id="aws", grid="aws://prod?region=eu-west-1", **step)
        HTCGridSubmitOperator.partial(task_id="mapped", function="f.g", grid="local:///mapped").expand(tasks=[[1], [2]])
        HTCGridResultsOperator(task_id="results", session="s", result="x.jsonl", grid="local:///results")

        @task.htcgrid(over="trade", grid="local:///decorated")
        def price(trade: Any) -> Any:
            return trade

        price([1])
        # What is not opened without a connection:
        HTCGridSubmitOperator(task_id="connection", **step)
        HTCGridSubmitOperator(task_id="rendered", grid="local:///{{ ds }}", **step)
        HTCGridSubmitOperator(task_id="endpoint", grid="aws://prod?endpoint=http://elsewhere", **step)
        HTCGridSubmitOperator(task_id="profile", grid="aws://prod?region=eu-west-1&profile=admin", **step)
        HTCGridSubmitOperator(task_id="server", grid="https://elsewhere", **step)
        BashOperator(task_id="another", bash_command="true", params={"grid": "local:///another"})
    assert set(urls_in(DagSerialization.to_dict(book))) == {
        "local:///plain", "aws://prod?region=eu-west-1", "local:///mapped", "local:///results", "local:///decorated"
    }  # fmt: skip
