"""Sources and sinks of the operator: URIs, Airflow's connections, callables; a clear replaces what was written."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import sqlalchemy
from airflow.providers.common.compat.sdk import TaskDeferred

from htcgrid_airflow.operators import HTCGridSubmitOperator
from htcgrid_core import InvalidEvents, InvalidInput, connect, sink, source
from tests.airflow.handlers import priced
from tests.airflow.steps import Step


class Hook:
    """A hook of a database, of which Airflow's give SQLAlchemy's engine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get_sqlalchemy_engine(self) -> Any:
        return sqlalchemy.create_engine(f"sqlite:///{self.path}")


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with three trades, which is Airflow's connection ``book``."""
    with sqlite3.connect(tmp_path / "book.db") as connection:
        connection.execute("CREATE TABLE trades (id INTEGER, day TEXT)")
        connection.executemany("INSERT INTO trades VALUES (?, 'd1')", [(3,), (1,), (2,)])
    hooks = {"book": Hook(tmp_path / "book.db")}
    monkeypatch.setattr("htcgrid_airflow.tables.BaseHook.get_hook", hooks.__getitem__)
    return tmp_path / "book.db"


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute(query).fetchall()


def operator(url: str, **arguments: Any) -> HTCGridSubmitOperator:
    return HTCGridSubmitOperator(task_id="fan_out", grid=url, **{"function": priced, **arguments})


def executed(made: HTCGridSubmitOperator, step: Step) -> Any:
    """What goes to XCom, also after a deferral."""
    context = step.context()
    try:
        return made.execute(context)
    except TaskDeferred as deferred:
        return getattr(made, deferred.method_name)(context)


TRADES = "SELECT * FROM trades WHERE day = :day"
QUERY = {"conn_id": "book", "query": TRADES, "parameters": {"day": "d1"}, "order_by": "id"}


@pytest.mark.parametrize("deferrable", [False, True])
def test_from_a_table_to_a_table_by_connections(grid_url: str, book: Path, deferrable: bool) -> None:
    step = Step()
    made = operator(
        grid_url,
        source=QUERY,
        sink={"conn_id": "book", "table": "risk"},
        sink_key="id",
        sink_failures={"conn_id": "book", "table": "failed"},
        failure_policy=1,
        retry=1,
        deferrable=deferrable,
    )
    for again in (step, step.cleared()):
        manifest = executed(made, again)
        name = f"dag/fan_out/{step.run_id}"
        assert (manifest["written"]["session"], manifest["written"]["results"]["rows"]) == (name, 2)
        assert rows(book, "SELECT * FROM risk ORDER BY id") == [(name, 0, 1, 2), (name, 1, 2, 4)]
        assert rows(book, "SELECT task_index, id, error_message FROM failed") == [(2, 3, "no third")]


def test_files_and_callables(grid_url: str, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"id": [1, 2]}), tmp_path / "x.parquet")
    for place, to in (
        (str(tmp_path / "x.parquet"), str(tmp_path / "a.jsonl")),
        ({"place": str(tmp_path / "x.parquet"), "where": ["id<9"]}, {"place": str(tmp_path / "a.jsonl")}),
        (lambda: source(tmp_path / "x.parquet"), lambda: sink(tmp_path / "a.jsonl")),
    ):
        manifest = executed(operator(grid_url, source=place, sink=to, sink_name="day"), Step())
        assert manifest["written"]["results"]["rows"] == 2
        assert '"session": "day"' in (tmp_path / "a.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either tasks= or source="),
        ({"tasks": [1], "source": "x"}, "either tasks= or source="),
        ({"source": {"query": "SELECT 1"}}, 'either "place" or "conn_id"'),
        ({"source": {"place": "/nope"}}, "no such file"),
        ({"source": {"conn_id": "book", "table": "t"}}, "say which rows with query="),
    ],
)
def test_what_is_no_source(grid_url: str, book: Path, arguments: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        executed(operator(grid_url, **arguments), Step())


def test_templates(tmp_path: Path) -> None:
    made = operator("local://", source={"place": "trades/{{ ds }}"}, sink_name="{{ ds }}")
    made.render_template_fields({"ds": "2026-01-02"})
    assert (made.source, made.sink_name) == ({"place": "trades/2026-01-02"}, "2026-01-02")


def test_events_that_are_not_as_the_functions_schema_says(grid_url: str, tmp_path: Path) -> None:
    """They fail the step before anything is written, or are put aside."""
    (tmp_path / "priced").mkdir()
    (tmp_path / "priced" / "app.py").write_text("def handler(event, context): return event['id']\n")
    with connect(grid_url) as grid:
        grid.deploy("priced", tmp_path / "priced", handler="app.handler", events_schema={"required": ["id"]})
        before = len(grid.sessions())
        with pytest.raises(InvalidEvents, match="1 of 2 events"):
            executed(operator(grid_url, function="priced", tasks=[{"id": 1}, {}]), Step())
        assert len(grid.sessions()) == before
    for number, rejects in enumerate((str(tmp_path / "no.jsonl"), {"place": str(tmp_path / "aside"), "kind": "jsonl"})):
        made = operator(grid_url, function="priced", tasks=[{"id": 1}, {}], rejects=rejects, token=f"aside {number}")
        assert executed(made, Step())["completed"] == 1
    assert '"row":1' in (tmp_path / "no.jsonl").read_text()
    (file,) = (tmp_path / "aside").rglob("*.jsonl")
    assert '"reason":' in file.read_text()
    unchecked = operator(grid_url, function="priced", tasks=[{}], validate="off", failure_policy="never", retry=1)
    assert executed(unchecked, Step())["failed"] == 1
