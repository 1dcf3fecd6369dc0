"""What each place for results keeps, what it refuses, and that it has written nothing then."""

from __future__ import annotations

import json
import threading
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pyarrow as pa
import pytest

from htcgrid_core import GridUnavailable, InvalidInput, sink
from tests.data.writing import SCHEMA, counted, iceberg_table, rows_of, sink_of, values

ROW = {
    "price": Decimal("1.50"), "on": date(2026, 1, 2), "at": datetime(2026, 1, 2, tzinfo=UTC), "legs": [1, 2],
    "more": {"k": "v"}, "name": 'a "b",\n', "none": None, "ok": True, "count": 2**60, "share": 0.1,
}  # fmt: skip


def read(query: str) -> list[dict[str, Any]]:
    return duckdb.sql(query).to_arrow_table().to_pylist()  # type: ignore[no-any-return]


def test_files_are_whole(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.gz", "a.parquet"):
        there = sink(tmp_path / "out" / name)
        there.check()
        there.replace(rows_of("s", values(3)))
        there.replace(rows_of("s", [ROW, {**ROW, "name": None}]))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jsonl", "a.jsonl.gz", "a.parquet"]
    (row, other) = read(f"SELECT * FROM '{tmp_path}/out/a.parquet'")
    assert {**row, "at": ROW["at"]} == {"session": "s", "task_index": 0, **ROW}
    assert other["name"] is None
    lines = [json.loads(line) for line in (tmp_path / "out" / "a.jsonl").read_text().splitlines()]
    plain = {"price": "1.50", "on": "2026-01-02", "at": "2026-01-02T00:00:00+00:00"}
    assert lines[0] == {"session": "s", "task_index": 0, **ROW, **plain}
    assert read(f"SELECT count(*) AS n FROM '{tmp_path}/out/a.jsonl.gz'") == [{"n": 2}]


def test_a_folder_of_sessions_with_partitions_and_a_manifest(tmp_path: Path) -> None:
    there = sink(tmp_path / "risk", partition_by=["desk"])
    for session, count in (("a b", 6), ("c", 2), ("a b", 4)):
        there.replace(rows_of(session, [{"desk": f"d{index % 2}", "value": index} for index in range(count)]))
    rows = read(f"SELECT * FROM read_parquet('{tmp_path}/risk/**/*.parquet') ORDER BY session, task_index")
    assert [(row["session"], row["task_index"], row["desk"], row["value"]) for row in rows] == [
        ("a b", 0, "d0", 0), ("a b", 1, "d1", 1), ("a b", 2, "d0", 2), ("a b", 3, "d1", 3),
        ("c", 0, "d0", 0), ("c", 1, "d1", 1),
    ]  # fmt: skip
    manifest = json.loads((tmp_path / "risk" / "session=a%20b" / "_manifest.json").read_text())
    assert (manifest["session"], manifest["rows"]) == ("a b", 4)
    assert manifest["files"] == ["desk=d0/part-0.parquet", "desk=d1/part-0.parquet"]
    assert sorted(path.name for path in (tmp_path / "risk").iterdir()) == ["session=a%20b", "session=c"]


def test_a_storage_of_objects_keeps_no_file_of_an_earlier_try(tmp_path: Path) -> None:
    there = sink(tmp_path / "risk", partition_by=["desk"])
    rows = [rows_of("s", [{"desk": f"d{index}", "value": index} for index in range(count)]) for count in (3, 2)]
    import pyarrow.fs as fs

    from htcgrid_core.data.file_sinks import FolderSink

    assert isinstance(there, FolderSink)
    for one in rows:
        base = f"{tmp_path}/risk/session=s"
        written = there._write_into(one, fs.LocalFileSystem(), base)
        there._forget_others(fs.LocalFileSystem(), base, written)
    assert read(f"SELECT count(*) AS n FROM read_parquet('{tmp_path}/risk/**/*.parquet')") == [{"n": 2}]


def test_lines_in_a_folder(tmp_path: Path) -> None:
    sink(tmp_path / "risk", kind="jsonl").replace(rows_of("s", values(2)))
    assert (tmp_path / "risk" / "session=s" / "part-0.jsonl").read_text().count("\n") == 2


@pytest.mark.parametrize("kind", ["delta", "iceberg", "postgresql"])
def test_values_that_a_column_would_change_are_refused(kind: str, tmp_path: Path, engine_url: str, server: str) -> None:
    there = sink_of(kind, tmp_path, engine_url)
    there.replace(rows_of("first", values(3)))
    for bad in ({"value": "text"}, {"value": 1.0, "other": 1}, {"value": [1]}, {"value": 2**60 + 1}):
        with pytest.raises(InvalidInput):
            there.replace(rows_of("first", [bad]))
    there.replace(rows_of("second", [{"value": 2, "note": None}, {"value": None, "note": None}]))
    assert counted(kind, tmp_path, server) == {"first": (3, 3, 4.5), "second": (2, 2, 2.0)}


def test_a_value_that_fails_in_the_middle_leaves_what_was_there(tmp_path: Path) -> None:
    """Integers of a later batch that a double would change: found while the files are written."""
    iceberg = sink(iceberg_table(tmp_path / "iceberg"))
    delta = sink(f"delta:{tmp_path}/delta")
    bad = [*({"value": 1, "note": ""} for _ in range(15_000)), {"value": 2**60 + 1, "note": ""}]
    for kind, there in (("iceberg", iceberg), ("delta", delta)):
        there.replace(rows_of("s", values(3)))
        with pytest.raises(InvalidInput, match="column 'value' is double"):
            there.replace(rows_of("s", bad))
        assert counted(kind, tmp_path, "") == {"s": (3, 3, 4.5)}


def test_all_types_in_delta_and_postgresql(tmp_path: Path, engine_url: str, database: Any) -> None:
    for number in range(2):
        sink(f"delta:{tmp_path}/delta", partition_by=["on"]).replace(rows_of("s", [ROW] * (3 - number)))
        sink(engine_url, table="risk").replace(rows_of("s", [ROW] * (3 - number)))
    rows = deltalake.DeltaTable(tmp_path / "delta").to_pyarrow_table().to_pylist()
    assert len(rows) == 2
    assert rows[0] == {"session": "s", "task_index": rows[0]["task_index"], **ROW}
    found = database.execute(
        'SELECT price, on_, at, legs, more, name, none, ok, count, share FROM (SELECT *, "on" AS on_ FROM risk) r'
    )
    assert found.fetchall() == [tuple(ROW.values())] * 2


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        (time(9, 30), {}, "time64"),
        ([timedelta(seconds=1)], {}, "duration"),
        ({"a": Decimal(10) ** 50}, {}, "decimal256"),
        ([1, 2], {"partition_by": ["value"]}, "by which no table is partitioned"),
    ],
)
def test_what_delta_has_not_is_named(tmp_path: Path, value: Any, options: Any, message: str) -> None:
    there = sink(f"delta:{tmp_path}/delta", **options)
    with pytest.raises(InvalidInput, match=rf"session s: .*'value'.*{message}"):
        there.replace(rows_of("s", [{"value": value}]))
    assert not deltalake.DeltaTable.is_deltatable(f"{tmp_path}/delta")


def test_columns_that_a_table_cannot_tell_apart(tmp_path: Path) -> None:
    for there in (sink(f"delta:{tmp_path}/delta"), sink(f"sqlite:///{tmp_path}/x.db", table="t")):
        with pytest.raises(InvalidInput, match="columns 'a' and 'A' are the same"):
            there.replace(rows_of("s", [{"a": 1, "A": 2}]))


def test_what_deltalake_says_of_data_is_the_datas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise Exception("External error: no such type")

    monkeypatch.setattr(deltalake, "write_deltalake", refuse)
    with pytest.raises(InvalidInput, match=r"session s: .*delta was not written: External error"):
        sink(f"delta:{tmp_path}/delta").replace(rows_of("s", values(1)))


def test_columns_of_a_table_in_another_order_and_required(tmp_path: Path) -> None:
    """Of Iceberg and SQLite: what is null where it may not be is named, and what was there stays."""
    import sqlite3

    from pyiceberg.catalog.sql import SqlCatalog

    swapped = pa.schema([SCHEMA.field("note"), SCHEMA.field("task_index"),
                         SCHEMA.field("value").with_nullable(False), SCHEMA.field("session")])  # fmt: skip
    catalog = SqlCatalog("tests", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/lake")
    catalog.create_namespace("risk")
    table = catalog.create_table("risk.swapped", schema=swapped)
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE t (note text, value real NOT NULL, task_index int, session text)")
    in_sqlite = sink(f"sqlite:///{tmp_path}/x.db", table="t")
    for there, message in ((sink(table), "'value' may not be null"), (in_sqlite, "NOT NULL constraint failed")):
        there.replace(rows_of("s", values(2)))
        with pytest.raises(InvalidInput, match=message):
            there.replace(rows_of("s", [*values(2), {"value": None, "note": "x"}]))
    expected = [("s", 0, 0.0, "n0"), ("s", 1, 1.5, "n1")]
    with sqlite3.connect(tmp_path / "x.db") as connection:
        assert connection.execute("SELECT session, task_index, value, note FROM t ORDER BY 2").fetchall() == expected
    rows = table.refresh().scan().to_arrow().to_pylist()
    assert sorted((row["session"], row["task_index"], row["value"], row["note"]) for row in rows) == expected


@pytest.mark.parametrize("kind", ["delta", "sqlite", "postgresql"])
def test_reserved_words_as_columns_and_no_results_at_all(kind: str, tmp_path: Path, engine_url: str) -> None:
    url = engine_url if kind == "postgresql" else f"sqlite:///{tmp_path}/x.db"
    there = sink(f"delta:{tmp_path}/delta") if kind == "delta" else sink(url, table="order")
    row = {"select": 1, "order": "x", "group by": 2.5, "a.b": True, "%s": "y"}
    there.check()
    there.replace(rows_of("s", []))
    there.check()
    if kind == "delta":
        rows = deltalake.DeltaTable(tmp_path / "delta").to_pyarrow_table().to_pylist()
        assert rows == []
        return
    with pytest.raises(InvalidInput, match="no column 'select'"):
        there.replace(rows_of("s", [row]))
    more = sink(url, table="user")
    for _ in range(2):
        more.replace(rows_of("s", [row]))
    from htcgrid_core import source

    (found,) = source(url, query='SELECT * FROM "user"', order_by="task_index")
    assert found == {"session": "s", "task_index": 0, **row}


def test_a_table_without_the_columns_of_sessions_is_found_before_they_run(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE t (session text)")
    with pytest.raises(InvalidInput, match="no column 'task_index', by which"):
        sink(f"sqlite:///{tmp_path}/x.db", table="t").check()


@pytest.mark.parametrize(("name", "message"), [("n" * 300, "308 bytes, of 255"), ("\ud800", "cannot be a folder's")])
def test_names_that_no_folder_can_have(tmp_path: Path, name: str, message: str) -> None:
    there = sink(tmp_path / "folder")
    with pytest.raises(InvalidInput, match=message):
        there.replace(rows_of(name, values(1)))
    assert not (tmp_path / "folder").exists()
    sink(tmp_path / "x.jsonl").replace(rows_of("n" * 300, values(1)))


def test_a_repeat_changes_no_row_in_postgresql(engine_url: str, database: Any) -> None:
    there = sink(engine_url, table="risk")
    there.replace(rows_of("s", values(3)))
    before = database.execute("SELECT xmin, * FROM risk ORDER BY task_index").fetchall()
    there.replace(rows_of("s", values(3)))
    assert database.execute("SELECT xmin, * FROM risk ORDER BY task_index").fetchall() == before
    there.replace(rows_of("s", [*values(2), {"value": -1.0, "note": "x"}]))
    after = database.execute("SELECT xmin, * FROM risk ORDER BY task_index").fetchall()
    assert after[:2] == before[:2]
    assert after[2][-2:] == (-1.0, "x")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"note": "a\0b"}, "task 0, 'note': a NUL"),
        ({"note": "\ud800"}, "task 0, 'note': a NUL or half a surrogate"),
        ({"more": [float("nan")]}, "task 0, 'more': NaN"),
        ({"more": ["\0"]}, "task 0, 'more': a NUL"),
    ],
)
def test_what_postgresql_has_not_is_named(engine_url: str, database: Any, result: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        sink(engine_url, table="risk").replace(rows_of("s", [result]))
    assert database.execute("SELECT to_regclass('risk')").fetchone() == (None,)


def test_a_table_of_others(engine_url: str, database: Any) -> None:
    database.execute("CREATE SCHEMA bank")
    columns = "task_index int, session text, value numeric(10, 2), stamp timestamptz DEFAULT now()"
    database.execute(f"CREATE TABLE bank.risk ({columns})")
    there = sink(engine_url, table="bank.risk")
    with pytest.raises(InvalidInput, match="no unique or exclusion constraint"):
        there.replace(rows_of("s", [{"value": 1.5}]))
    database.execute("ALTER TABLE bank.risk ADD PRIMARY KEY (session, task_index)")
    there.replace(rows_of("s", [{"value": 1.5}]))
    (row,) = database.execute("SELECT session, task_index, value, stamp IS NULL FROM bank.risk").fetchall()
    assert row == ("s", 0, Decimal("1.50"), False)


def test_sqlite(tmp_path: Path) -> None:
    import sqlite3

    url = f"sqlite:///{tmp_path}/risk.db"
    for count in (5, 3):
        there = sink(url, table="risk")
        there.check()
        there.replace(rows_of("s", [ROW] * count))
    with sqlite3.connect(tmp_path / "risk.db") as connection:
        assert connection.execute("SELECT count(*), max(price), max(legs) FROM risk").fetchall() == [
            (3, "1.50", "[1, 2]")
        ]
    with pytest.raises(InvalidInput, match="no column 'extra'"):
        sink(url, table="risk").replace(rows_of("t", [{**ROW, "extra": 1}]))


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("x.parquet", {"table": "t"}, "table"),
        ("risk", {"kind": "jsonl", "partition_by": ["x"]}, "without partitions"),
        ("s3://bucket/x.parquet", {}, "results are a folder"),
        ("x.parquet.gz", {}, "leave .gz out"),
        ("x.csv", {}, "written as .jsonl, .jsonl.gz or .parquet"),
        ("x.jsonl.zst", {}, "written as .jsonl, .jsonl.gz or .parquet"),
        ("sqlite://", {}, "say where in it with table="),
        ("sqlite://", {"table": "a..b"}, "no table's name"),
        (3, {}, "a int is no connection"),
    ],
)
def test_what_is_no_sink(place: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        sink(place, **options)


def test_places_that_cannot_be_written_are_told_before(tmp_path: Path, engine_url: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "x.parquet").mkdir()
    with pytest.raises(InvalidInput, match="is a file, not a folder"):
        sink(tmp_path / "file").check()
    with pytest.raises(InvalidInput, match="is a folder"):
        sink(tmp_path / "x.parquet").check()
    with pytest.raises(InvalidInput):
        sink("postgresql+psycopg://127.0.0.1:1/x", table="t").check()
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog("c", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("n")
    with pytest.raises(InvalidInput, match="no column 'session'"):
        sink(catalog.create_table("n.t", schema=pa.schema([SCHEMA.field("value")]))).check()
    with pytest.raises(GridUnavailable):
        sink("/proc/nope").replace(rows_of("s", values(1)))


def test_what_is_not_committed_is_neither_lost_nor_committed(tmp_path: Path, server: str, database: Any) -> None:
    import contextlib
    import sqlite3

    import psycopg

    with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as own, psycopg.connect(server) as other:
        for connection in (own, other):
            there = sink(connection, table="risk")
            for step in (there.check, lambda there=there: there.replace(rows_of("s", values(2)))):
                connection.execute("CREATE TABLE IF NOT EXISTS mine (id int)")
                connection.execute("INSERT INTO mine VALUES (1)")
                with pytest.raises(InvalidInput, match="commit it first"):
                    step()
                assert connection.execute("SELECT count(*) FROM mine").fetchone()[0] > 0
                connection.commit()
            connection.execute("SELECT 1")
            there.check()
            there.replace(rows_of("s", values(2)))
            assert connection.execute("SELECT count(*) FROM risk").fetchone() == (2,)
            connection.commit()


def test_texts_of_a_connection_with_another_encoding(server: str, database: Any) -> None:
    import psycopg

    with psycopg.connect(server, client_encoding="latin1") as connection:
        sink(connection, table="risk").replace(rows_of("s", [{"note": "\u20ac"}]))
    assert database.execute("SELECT note FROM risk").fetchall() == [("\u20ac",)]


def test_numbers_that_sqlite_has_not(tmp_path: Path) -> None:
    import sqlite3

    url = f"sqlite:///{tmp_path}/risk.db"
    sink(url, table="risk").replace(rows_of("s", [{"value": 2**70}, {"value": 1}]))
    with sqlite3.connect(tmp_path / "risk.db") as connection:
        assert connection.execute("SELECT value FROM risk").fetchall() == [(str(2**70),), ("1",)]
    with pytest.raises(InvalidInput, match="task 1, 'value': NaN"):
        sink(url, table="other").replace(rows_of("s", [{"value": 1.0}, {"value": float("nan")}]))


def test_writers_of_one_folder_at_once(tmp_path: Path) -> None:
    from htcgrid_core.data.file_sinks import _exchange

    failures: list[BaseException] = []

    def write(number: int) -> None:
        for turn in range(50):
            beside = tmp_path / f".{number}.{turn}"
            beside.mkdir()
            (beside / "row").touch()
            try:
                _exchange(beside, tmp_path / "session=s")
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [path.name for path in tmp_path.iterdir()] == ["session=s"]


TIME = datetime(2026, 1, 2, 3, 4, 5)
FITTING: list[tuple[str, list[Any], list[Any]]] = [
    ("numeric(10, 2)", [1.25, Decimal("1.250"), 3, "1.50"], [1.234, Decimal("0.001"), "1.234", "x", True]),
    ("numeric", [1.234, Decimal("1e-30"), 2**70, "1.50"], ["NaN", date(2026, 1, 2)]),
    ("double precision", [0.1, 2**53], [2**53 + 1, Decimal("0.1"), "0.1"]),
    ("real", [0.5, 3], [0.1, 2**24 + 1, 1e300]),
    ("integer", [5], [5.5, 2**40, "5", Decimal(5)]),
    ("date", [date(2026, 1, 2), "2026-01-02"], [TIME, "2026-01-02T03:04:05", "2 Jan 2026"]),
    ("timestamptz", [TIME.replace(tzinfo=UTC), "2026-01-02T03:04:05+00:00"], [TIME, "2026-01-02T03:04:05"]),
    ("timestamp", [TIME, "2026-01-02T03:04:05"], [TIME.replace(tzinfo=UTC), "2026-01-02T03:04:05+02:00"]),
    ("timestamp(0)", [], [TIME]),
    ("text", ["a", "12"], [12, date(2026, 1, 2)]),
    ("varchar(3)", ["abc"], ["abcd", 12]),
    ("uuid", ["00000000-0000-0000-0000-000000000001"], ["x"]),
    ("jsonb", [{"a": 1}, [1], 1.5], [Decimal("1.50"), "12", True]),
    ("boolean", [True], [1, "t"]),
]


@pytest.mark.parametrize(("kind", "good", "bad"), FITTING, ids=[kind for kind, _, _ in FITTING])
def test_a_column_of_others_holds_values_unchanged_or_not_at_all(
    kind: str, good: list[Any], bad: list[Any], engine_url: str, database: Any
) -> None:
    database.execute(f"CREATE TABLE risk (session text, task_index int, v {kind}, PRIMARY KEY (session, task_index))")
    there = sink(engine_url, table="risk")
    for number, value in enumerate(good):
        there.replace(rows_of(str(number), [{"v": None}, {"v": value}]))
    before = database.execute("SELECT v FROM risk WHERE task_index = 1 ORDER BY session").fetchall()
    assert len(before) == len(good)
    for (found,), value in zip(before, good, strict=True):
        assert found == value or type(value)(found) == value or isinstance(value, str)
    for value in bad:
        with pytest.raises(InvalidInput):
            there.replace(rows_of("0", [{"v": value}]))
    assert database.execute("SELECT v FROM risk WHERE task_index = 1 ORDER BY session").fetchall() == before
