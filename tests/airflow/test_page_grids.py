"""Which grids the page in Airflow's UI opens, and as whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from htcgrid_airflow.ui import grids
from htcgrid_core import Grid, UnknownGrid, connect


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, Any]]:
    """URL and AWS session of each connection that the page makes; there is a good one, and one that names no grid."""
    made: list[tuple[str, Any]] = []

    def connected(url: str, *, aws_session: Any) -> Grid:
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


def test_a_grid_is_opened_once_with_the_credentials_that_its_connection_borrows(opened: list[tuple[str, Any]]) -> None:
    assert grids.grid("prod_grid") is grids.grid_at("aws://prod?region=eu-west-1")
    ((url, session),) = opened
    assert (url, session.get_credentials().access_key) == ("aws://prod?region=eu-west-1", "a-key")


def test_only_grids_that_a_connection_names_are_opened(opened: list[tuple[str, Any]]) -> None:
    with pytest.raises(UnknownGrid, match="which no Airflow connection of type htcgrid names"):
        grids.grid_at("aws://another?region=eu-west-1")
    with pytest.raises(UnknownGrid, match="no Airflow connection 'prod_aws' of type htcgrid"):
        grids.grid("prod_aws")
    assert not opened
