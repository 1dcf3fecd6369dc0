"""HTCGridHook and the provider's metadata."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import airflow
import jsonschema  # type: ignore[import-untyped] # no types
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk import task

from htcgrid_airflow import settings
from htcgrid_airflow.compat import conf
from htcgrid_airflow.decorators import htcgrid_task
from htcgrid_airflow.defaults import DEFAULT_RESUME_SECONDS, SETTLING_SECONDS
from htcgrid_airflow.hooks import HTCGridHook, target_of, with_region
from htcgrid_airflow.provider import get_provider_info
from htcgrid_core import Grid, InvalidInput, UnknownGrid, connect


def connection(monkeypatch: pytest.MonkeyPatch, conn_id: str, conn_type: str = "htcgrid", **fields: Any) -> None:
    """An Airflow connection in the environment."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": conn_type, **fields}))


def test_the_connection_names_the_grid(monkeypatch: pytest.MonkeyPatch, grid_url: str) -> None:
    extra = {"grid": grid_url, "pool": "big", "priority": "high", "tenant": "rates"}
    connection(monkeypatch, "htcgrid_default", extra=extra)
    hook = HTCGridHook()
    with hook.get_conn() as grid:
        assert isinstance(grid, Grid)
        assert grid.url == grid_url
        assert hook.get_conn() is grid
    assert (hook.target.pool, hook.target.priority, hook.target.tenant) == ("big", "high", "rates")


def test_a_url_instead_of_a_connection(grid_url: str) -> None:
    assert HTCGridHook(grid=grid_url).get_conn().url == grid_url


def test_no_such_connection() -> None:
    with pytest.raises(UnknownGrid, match=r"no Airflow connection 'nowhere'.*grid='local://'"):
        HTCGridHook("nowhere").get_conn()


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [({}, UnknownGrid, "names no grid"), ({"grid": "local://", "priority": "urgent"}, InvalidInput, "'urgent' is not")],
)
def test_a_connection_that_is_no_good(fields: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        target_of("mine", None, fields)


@pytest.mark.parametrize(
    ("url", "region", "result"),
    [
        ("aws://prod", "eu-west-1", "aws://prod?region=eu-west-1"),
        ("aws://prod?profile=p", "eu-west-1", "aws://prod?profile=p&region=eu-west-1"),
        ("aws://prod?region=us-east-1", "eu-west-1", "aws://prod?region=us-east-1"),
        ("aws://prod", None, "aws://prod"),
        ("local://", "eu-west-1", "local://"),
    ],
)
def test_the_region_of_the_connection(url: str, region: str | None, result: str) -> None:
    assert with_region(url, region) == result


def test_testing_a_good_connection(grid_url: str) -> None:
    good, message = HTCGridHook(grid=grid_url).test_connection()
    assert good
    assert message.startswith(f"Connected to {grid_url}: ")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nowhere://", "UnknownGrid: 'nowhere://' is not a grid's URL"),
        ("local:///dev/null/grid", "GridUnavailable: "),
        ("aws://Nowhere", "UnknownGrid: "),
    ],
)
def test_testing_a_bad_connection(url: str, message: str) -> None:
    good, told = HTCGridHook(grid=url).test_connection()
    assert not good
    assert told.startswith(message)


def test_credentials_are_borrowed_from_an_aws_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []

    def connected(url: str, *, aws_session: Any, **_: Any) -> Grid:
        given.append((url, aws_session))
        return connect(f"local://{tmp_path}")

    monkeypatch.setattr("htcgrid_airflow.hooks.connect", connected)
    connection(monkeypatch, "prod_grid", extra={"grid": "aws://prod", "region": "eu-west-1", "aws_conn_id": "prod_aws"})
    connection(monkeypatch, "prod_aws", "aws", login="a-key", password="a-secret", extra={"region_name": "eu-west-1"})
    HTCGridHook("prod_grid").connect()
    ((url, session),) = given
    assert url == "aws://prod?region=eu-west-1"
    assert session.get_credentials().access_key == "a-key"


def test_the_metadata_is_what_airflow_expects() -> None:
    schema = Path(airflow.__file__).with_name("provider_info.schema.json")
    jsonschema.validate(get_provider_info(), json.loads(schema.read_text()))


def test_the_metadata_is_found_by_airflow() -> None:
    (found,) = (
        point for point in entry_points(group="apache_airflow_provider") if point.module.startswith("htcgrid_airflow")
    )
    assert found.load() is get_provider_info


def test_airflow_knows_the_connection_the_decorator_and_the_link() -> None:
    manager: Any = ProvidersManager()  # type: ignore[no-untyped-call] # so in Airflow
    assert manager.providers["htcgrid"].data["name"] == "HTC-Grid"
    runtime = "airflow.sdk.providers_manager_runtime"  # Airflow 3.2 and later, which also reads conn-fields
    if find_spec(runtime):
        fields = {name for name in manager.connection_form_widgets if "__htcgrid__" in name}
        names = ("grid", "region", "aws_conn_id", "pool", "priority", "tenant", "allow_pickle")
        assert fields == {f"extra__htcgrid__{name}" for name in names}
        assert conf.get("htcgrid", "poll_interval") == "5.0", "a default that no file has"
    assert "htcgrid_airflow.links.HTCGridSessionLink" in manager.extra_links_class_names
    found: Any = import_module(runtime).ProvidersManagerTaskRuntime() if find_spec(runtime) else manager
    assert found.hooks["htcgrid"].hook_name == "HTC-Grid"
    assert found.taskflow_decorators["htcgrid"] is htcgrid_task
    assert task.htcgrid is htcgrid_task


def test_a_task_is_resumed_once_airflow_must_have_noticed_that_it_deferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which depends on how often Airflow looks; who knows better may say so."""
    monkeypatch.delenv("AIRFLOW__HTCGRID__RESUME_AFTER")
    assert settings.resume_after() == DEFAULT_RESUME_SECONDS
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "20")
    assert settings.resume_after() == 20 + SETTLING_SECONDS
    monkeypatch.setenv("AIRFLOW__HTCGRID__RESUME_AFTER", "1.5")
    assert settings.resume_after() == 1.5
