"""From a table to a table through a grid: as a script and on the command line; what fails, and what is retried."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from htcgrid_core import (
    Grid,
    InvalidInput,
    NotTabular,
    SessionConflict,
    SessionFailed,
    TaskFailed,
    sink,
    source,
)
from tests.data.test_folders import parquet
from tests.e2e.command_line import CommandLine
from tests.e2e.support import ended

SCHEMA = pa.schema([("id", pa.int64()), ("day", pa.date32())])
HANDLER = "tests.data.handlers.price"


@pytest.fixture
def trades(tmp_path: Path) -> Path:
    for desk in "ab":
        rows = [{"id": number, "day": date(2026, 1, 2)} for number in range(10) if (number % 2 == 0) == (desk == "a")]
        parquet(tmp_path / "trades" / f"desk={desk}" / "x.parquet", rows, SCHEMA)
    return tmp_path / "trades"


def test_a_callable_gets_objects_and_a_handler_json(grid: Grid, trades: Path) -> None:
    called = grid.submit(lambda event: (event["desk"], event["day"].year), source(trades))
    assert list(called.results())[:2] == [("a", 2026), ("a", 2026)]
    named = grid.submit(HANDLER, source(trades, where=["id<7"]))
    assert next(named.events()) == {"id": 0, "day": "2026-01-02", "desk": "a"}
    assert sum(result["value"] for result in named.results()) == 42


def test_a_source_without_an_order_is_the_same_vector_at_each_reading(grid: Grid) -> None:
    rows = [{"id": number, "day": f"d{number}"} for number in range(20)]
    for codec in ("json", "pickle"):
        function: Any = HANDLER if codec == "json" else abs
        first, again = (
            grid.submit(function, source(pa.Table.from_pylist(some).to_reader()), token=f"staged {codec}", retry=1)
            for some in (rows, rows[::-1])
        )
        assert first.id == again.id
    with pytest.raises(SessionConflict):
        grid.submit(HANDLER, source(pa.Table.from_pylist(rows[1:]).to_reader()), token="staged json", retry=1)


def test_bad_rows_submit_nothing(grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n' * 50_000 + "{nonsense\n")
    with pytest.raises(InvalidInput, match=r"a\.jsonl, line 50001"):
        grid.submit(HANDLER, source(tmp_path / "a.jsonl"), name="bad")
    assert [session for session in grid.sessions() if session.name == "bad" and session.progress().total] == []


def test_results_beside_keys_and_failures_elsewhere(grid: Grid, trades: Path, tmp_path: Path) -> None:
    session = grid.submit(HANDLER, source(trades), retry=1)
    table = f"sqlite:///{tmp_path}/risk.db"
    with pytest.raises(SessionFailed):
        session.write(sink(tmp_path / "risk"), key=["id", "desk"])
    assert not (tmp_path / "risk").exists()
    for _ in range(2):
        manifest = session.write(sink(tmp_path / "risk"), key=["id", "desk"], failures=sink(table, table="failed"))
        assert manifest.failures is not None
        assert (manifest.results.rows, manifest.failures.rows) == (9, 1)
    files = f"read_parquet('{tmp_path}/risk/*/*.parquet')"
    found = duckdb.sql(f"SELECT session, task_index, id, desk, value FROM {files} ORDER BY id").fetchall()
    assert found[0] == (session.id, 0, 0, "a", 0.0)
    assert [row[2] for row in found] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    import sqlite3

    with sqlite3.connect(tmp_path / "risk.db") as connection:
        (failed,) = connection.execute(
            "SELECT task_index, id, error_type, error_message, attempts FROM failed"
        ).fetchall()
    assert failed == (8, 7, "ValueError", "no price", 1)


def test_a_tolerated_failure_has_to_have_a_place(grid: Grid, trades: Path, tmp_path: Path) -> None:
    session = grid.submit(HANDLER, source(trades), retry=1, max_failures=1)
    with pytest.raises(TaskFailed, match="no price"):
        session.write(sink(tmp_path / "risk"))
    assert session.write(sink(tmp_path / "risk"), failures=sink(tmp_path / "f.jsonl")).results.rows == 9


def test_a_resubmitted_session_replaces_what_its_parent_wrote(grid: Grid, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    def once(event: Any) -> dict[str, Any]:
        if event["id"] == 3 and not marker.exists():
            raise ValueError("not yet")
        return {"value": event["id"]}

    first = grid.submit(once, [{"id": number} for number in range(6)], retry=1)
    there = sink(f"delta:{tmp_path}/risk")
    failures = sink(tmp_path / "failed.jsonl")
    assert first.write(there, key="id", failures=failures).results.rows == 5
    marker.touch()
    again = grid.resubmit(first)
    manifest = again.write(there, key="id", failures=failures)
    assert (manifest.results.rows, manifest.session, manifest.session_id) == (6, first.id, again.id)
    import deltalake

    rows = deltalake.DeltaTable(tmp_path / "risk").to_pyarrow_table().to_pylist()
    assert sorted((row["task_index"], row["id"], row["value"]) for row in rows) == [(n, n, n) for n in range(6)]
    assert (tmp_path / "failed.jsonl").read_text() == ""


def test_rows_of_another_session_under_one_name(grid: Grid, tmp_path: Path) -> None:
    for count in (4, 2):
        session = grid.submit(abs, range(count))
        session.write(sink(f"sqlite:///{tmp_path}/x.db", table="t"), name="2026-01-02")
    import sqlite3

    with sqlite3.connect(tmp_path / "x.db") as connection:
        assert connection.execute("SELECT session, count(*), max(result) FROM t").fetchall() == [("2026-01-02", 2, 1)]


def test_it_is_taken_while_the_session_runs(grid: Grid, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def waits(event: int) -> int:
        import time

        while event == 1 and not gate.exists():
            time.sleep(0.01)
        return event

    session = grid.submit(waits, [0, 1])
    done: list[Any] = []
    writer = threading.Thread(target=lambda: done.append(session.write(sink(tmp_path / "r.jsonl"))))
    writer.start()
    assert not (tmp_path / "r.jsonl").exists()
    gate.touch()
    writer.join()
    assert done[0].results.rows == 2
    ended(session)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (lambda event: event, {"key": "nope"}, "event 0 of session .* has no 'nope'"),
        (lambda _: {"id": -1}, {"key": "id"}, "has its own 'id', another than its event's"),
        (lambda _: {"session": "x"}, {}, "has its own 'session'"),
        (lambda event: "text" if event["id"] else 1, {}, "'result' is"),
    ],
)
def test_results_that_do_not_fit(grid: Grid, tmp_path: Path, function: Any, options: Any, message: str) -> None:
    session = grid.submit(function, [{"id": 0}, {"id": 1}])
    with pytest.raises(InvalidInput if "event" in message else NotTabular, match=message):
        session.write(sink(tmp_path / "risk"), **options)
    assert not (tmp_path / "risk").exists() or not list((tmp_path / "risk").iterdir())


def test_what_is_no_sink(grid: Grid) -> None:
    with pytest.raises(InvalidInput, match="a str is no place for results"):
        grid.submit(abs, [1]).write("risk.parquet")  # type: ignore[arg-type]


def test_the_command_line(grid: Grid, trades: Path, tmp_path: Path) -> None:
    shell = CommandLine.in_folder(tmp_path / "shell", grid.url)
    submit = ("mine.echo", "--from", str(trades), "--where", "id!=7", "--columns", "id,day", "--once")
    session = shell.session(*submit)
    assert shell.session(*submit) == session
    written = shell.call("results", session, "--to", f"delta:{tmp_path}/risk", "--key", "id", "--as", "day 2")
    manifest = written.object
    assert (manifest["results"]["rows"], manifest["session"], manifest["failures"]) == (9, "day 2", None)
    for wrong, message in (
        (("submit", HANDLER, "--query", "SELECT 1", "--range", "3"), "--query belongs to --from"),
        (("submit", HANDLER, "--once", "--range", "3"), "--once makes the token"),
        (("submit", HANDLER, "--from", "/nope"), "no such file or folder"),
        (("submit", HANDLER, "--from", str(trades), "--range", "3"), "leave --events and --range out"),
        (("submit", HANDLER, "--from", "sqlite://", "--param", "x"), "not NAME=VALUE"),
        (("results", session, "--key", "id"), "--key belongs to --to"),
        (("results", session, "--to", "sqlite://"), "say where in it with table="),
    ):
        done = shell.call(*wrong)
        assert done.code == 2
        assert message in done.err


def test_a_query_on_the_command_line(grid: Grid, tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "book.db") as connection:
        connection.execute("CREATE TABLE trades (id TEXT)")
        connection.executemany("INSERT INTO trades VALUES (?)", [("b",), ("a",), ("c",)])
    shell = CommandLine.in_folder(tmp_path / "shell", grid.url)
    url = f"sqlite:///{tmp_path}/book.db"
    query = ("--query", "SELECT * FROM trades WHERE id < :id", "--param", "id=c", "--order-by", "id")
    session = shell.session("mine.echo", "--from", url, *query)
    failed = ("--failures-to", url, "--failures-table", "failed")
    ran = shell.call("results", session, "--to", url, "--table", "risk", *failed)
    assert ran.object["failures"]["rows"] == 0
    with sqlite3.connect(tmp_path / "book.db") as connection:
        assert connection.execute("SELECT task_index, id FROM risk").fetchall() == [(0, "a"), (1, "b")]


def test_failures_do_not_replace_results(grid: Grid, trades: Path, tmp_path: Path) -> None:
    session = grid.submit(HANDLER, source(trades), retry=1)
    book = f"sqlite:///{tmp_path}/risk.db"
    for results, failures in (
        (sink(tmp_path / "risk"), sink(f"{tmp_path}/x/../risk/", kind="jsonl")),
        (sink(book, table="risk"), sink(book, table="risk")),
    ):
        with pytest.raises(InvalidInput, match="failures there would replace the results"):
            session.write(results, failures=failures)
