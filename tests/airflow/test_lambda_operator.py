"""Amazon's operator for Lambda functions invokes a grid's: its connection names the grid's server and a key of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator

from htcgrid_core import Grid
from tests.airflow.test_hook import connection
from tests.served import Server, key, serving

CODE = """
def handler(event, context):
    if event.get("notional", 0) < 0:
        raise ValueError("a negative notional")
    return {"value": event["notional"] * 2}
"""
CALLER = key("caller", "submit", "default")


@pytest.fixture(scope="module")
def server(grid: Grid, grid_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of a grid with a function, for one who may invoke it and nothing else."""
    folder: Path = tmp_path_factory.mktemp("operator")
    (folder / "code").mkdir()
    (folder / "code" / "code.py").write_text(CODE)
    grid.deploy("book-value", folder / "code", handler="code.handler")
    with serving(grid_url, folder / "keys.json", keys=[CALLER]) as running:
        yield running


@pytest.fixture
def conn_id(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection of Amazon's provider to it."""
    extra = {"region_name": "eu-west-1", "service_config": {"lambda": {"endpoint_url": server.url}}}
    connection(monkeypatch, "grid-lambda", conn_type="aws", login=CALLER.id, password=CALLER.secret, extra=extra)
    return "grid-lambda"


def _operator(conn_id: str, payload: Any, **options: Any) -> LambdaInvokeFunctionOperator:
    return LambdaInvokeFunctionOperator(
        task_id="value", function_name="book-value", payload=json.dumps(payload), aws_conn_id=conn_id, **options
    )


def test_its_result_is_the_functions(conn_id: str) -> None:
    found = _operator(conn_id, {"notional": 21}, log_type="Tail").execute({})
    assert json.loads(found) == {"value": 42}


def test_an_event_is_left_to_run(conn_id: str) -> None:
    assert _operator(conn_id, {"notional": 1}, invocation_type="Event").execute({}) == ""


def test_what_the_function_raises_fails_the_task(conn_id: str) -> None:
    with pytest.raises(ValueError, match="a negative notional"):
        _operator(conn_id, {"notional": -1}).execute({})
