"""Events checked by a schema: what is told, what is put aside, and that nothing is submitted of what is wrong."""

from __future__ import annotations

import contextlib
import json
import pickle
import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict  # pydantic does not know that of typing before Python 3.12

from htcgrid_core import Grid, InvalidEvents, InvalidInput, checked, source
from tests.data.test_folders import parquet
from tests.e2e.command_line import CommandLine

SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "on": {"type": "string", "format": "date"},
        "legs": {"type": "array", "items": {"type": "object", "required": ["n"]}},
    },
    "required": ["id", "on"],
}


class Model(BaseModel):
    id: int
    on: date
    legs: list[dict[str, int]] = []


class Typed(TypedDict):
    id: int
    on: date


def handler(event: Typed, context: Any) -> int:
    return event["id"]


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


GOOD = {"id": 1, "on": "2026-01-02"}


@pytest.mark.parametrize("schema", [SCHEMA, Model, Typed, handler], ids=["json", "model", "typed", "handler"])
def test_row_path_and_reason_of_each_problem(tmp_path: Path, schema: Any) -> None:
    rows = [GOOD, {"id": "1", "on": "2026-01-02"}, {"id": 1}, GOOD, {"id": 1, "on": "no date"}]
    with pytest.raises(InvalidEvents, match=r"3 of 5 events are not what they should be") as told:
        list(checked(source(lines(tmp_path / "a.jsonl", rows)), schema))
    assert [one.row for one in told.value.problems] == [1, 2, 4]
    assert told.value.problems[0].path == "id"
    assert all(one.reason for one in told.value.problems)
    again = pickle.loads(pickle.dumps(told.value))
    assert (str(again), again.problems) == (str(told.value), told.value.problems)
    good = [GOOD, GOOD]
    assert list(checked(source(lines(tmp_path / "b.jsonl", good)), schema).as_json()) == good


def test_a_path_inside(tmp_path: Path) -> None:
    with pytest.raises(InvalidEvents) as told:
        list(checked([{**GOOD, "legs": [{"n": 1}, {}]}], SCHEMA))
    assert [one.path for one in told.value.problems] == ["legs[1]"]


def test_the_first_twenty_and_how_many(tmp_path: Path) -> None:
    with pytest.raises(InvalidEvents) as told:
        list(checked(({"id": str(number), "on": "2026-01-02"} for number in range(1203)), SCHEMA))
    assert (len(told.value.problems), told.value.bad, told.value.checked) == (20, 1203, 1203)
    assert "1,203 of 1,203" in str(told.value)
    assert len(str(told.value).splitlines()) == 21


def test_objects_of_callables_are_checked_as_json(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "x.parquet",
        [{"id": 1, "on": date(2026, 1, 2)}],
        pa.schema([("id", pa.int64()), ("on", pa.date32())]),
    )
    assert list(checked(source(path), SCHEMA)) == [{"id": 1, "on": date(2026, 1, 2)}]
    assert list(checked(source(pa.table({"id": [1], "on": ["2026-01-02"]}).to_reader()), SCHEMA)) == [GOOD]


def test_a_sample(tmp_path: Path) -> None:
    rows = [GOOD] * 1001 + [{"id": "x"}] * 98 + [GOOD]
    assert len(list(checked(rows, SCHEMA, validate="sample"))) == 1100
    with pytest.raises(InvalidEvents, match="1 of 1,002"):
        list(checked([*rows[:1100], {}], SCHEMA, validate="sample"))
    assert len(list(checked([{}], SCHEMA, validate="off"))) == 1


def test_rejects_do_not_replace_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    read = lines(tmp_path / "in" / "a.jsonl", [{}])
    for place, rejects in ((read, read), (tmp_path / "in", tmp_path / "in" / "rejects.jsonl")):
        with pytest.raises(InvalidInput, match="where the events are read from"):
            checked(source(place), SCHEMA, rejects=rejects)
    assert json.loads(Path(read).read_text()) == {}


def test_rejects_are_put_aside_and_the_rest_submitted(grid: Grid, tmp_path: Path) -> None:
    rows = [GOOD, {"id": "bad"}, {**GOOD, "id": 2}]
    found = checked(source(lines(tmp_path / "a.jsonl", rows)), SCHEMA, rejects=tmp_path / "rejects.jsonl")
    session = grid.submit("tests.data.test_checking.handler", found, token=found.token("x"))
    assert [event["id"] for event in session.events()] == [1, 2]
    (line,) = map(json.loads, (tmp_path / "rejects.jsonl").read_text().splitlines())
    assert (line["row"], line["event"]) == (1, {"id": "bad"})
    assert {error["path"] for error in line["errors"]} == {"id", ""}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "rejects.jsonl"]


def test_nothing_is_submitted_of_a_vector_with_one_bad_row(grid: Grid, tmp_path: Path) -> None:
    with pytest.raises(InvalidEvents, match="row 200000"):
        grid.submit("tests.data.test_checking.handler", checked([GOOD] * 200_000 + [{}], SCHEMA), name="checked")
    assert [session for session in grid.sessions() if session.name == "checked"] == []


@pytest.mark.parametrize(
    ("schema", "options", "message"),
    [
        ({"type": "nothing"}, {}, "no JSON Schema"),
        ({"maximum": float("nan")}, {}, "no JSON Schema: Out of range float"),
        (lambda event: event, {}, "annotate its first parameter"),
        (3, {}, "is no schema"),
        (SCHEMA, {"validate": "some"}, "validate='some'"),
        (SCHEMA, {"validate": "sample", "rejects": "x"}, "rejects= needs validate='all'"),
    ],
)
def test_what_is_no_schema(schema: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        checked([], schema, **options)


def test_on_the_command_line(grid: Grid, tmp_path: Path) -> None:
    shell = CommandLine.in_folder(tmp_path / "shell", grid.url)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    events = lines(tmp_path / "a.jsonl", [GOOD, {"id": "bad"}])
    for where in ("--events", "--from"):
        done = shell.call("submit", "mine.echo", where, str(events), "--schema", str(tmp_path / "schema.json"))
        assert done.code == 2
        assert "1 of 2 events are not what they should be" in done.err
    session = shell.session(
        "mine.echo",
        "--from",
        str(events),
        "--schema",
        str(tmp_path / "schema.json"),
        "--rejects",
        str(tmp_path / "r.jsonl"),
        "--once",
    )
    assert grid.session(session).progress().total == 1
    assert shell.call("submit", "mine.echo", "--range", "3", "--rejects", "x").code == 2


def test_a_query_is_read_once(tmp_path: Path) -> None:
    """What is submitted is what was checked, whoever writes meanwhile."""
    schema = {"properties": {"id": {"maximum": 2}}}
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("CREATE TABLE trades (id)")
        connection.executemany("INSERT INTO trades VALUES (?)", [(1,), (2,), (3,)])
        trades = source(connection, query="SELECT id FROM trades", order_by="id")
        rows = iter(checked(trades, schema, rejects=tmp_path / "rejects.jsonl"))
        first = next(rows)
        connection.execute("UPDATE trades SET id = id + 100")
        assert [first, *rows] == [{"id": 1}, {"id": 2}]


def test_dates_of_what_is_staged_are_checked_as_json() -> None:
    table = pa.table({"id": [1], "on": [date(2026, 1, 2)]})
    assert list(checked(source(table.to_reader()), SCHEMA)) == [{"id": 1, "on": date(2026, 1, 2)}]
    assert list(checked(source(table.to_reader()), SCHEMA).as_json()) == [GOOD]


def test_the_token_tells_what_is_left_out(tmp_path: Path) -> None:
    events = source(lines(tmp_path / "a.jsonl", [GOOD, {"id": "bad"}]))
    rejects = tmp_path / "r"
    tokens = [
        checked(events, SCHEMA).token("x"),
        checked(events, SCHEMA, rejects=rejects).token("x"),
        checked(events, {}, rejects=rejects).token("x"),
        checked(events, Model, rejects=rejects).token("x"),
    ]
    assert len(set(tokens)) == 4
    assert tokens[0] == events.token("x")


def test_once_with_rejects_and_without(grid: Grid, tmp_path: Path) -> None:
    shell = CommandLine.in_folder(tmp_path / "shell", grid.url)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    events = lines(tmp_path / "a.jsonl", [GOOD, {"id": "bad"}])
    command = ("mine.echo", "--from", str(events), "--once")
    all_of_them = shell.session(*command)
    some = shell.session(*command, "--schema", str(tmp_path / "schema.json"), "--rejects", str(tmp_path / "r.jsonl"))
    assert [grid.session(one).progress().total for one in (all_of_them, some)] == [2, 1]
