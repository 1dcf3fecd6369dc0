"""Queries as events, on PostgreSQL and SQLite: their order, their types, and what breaks off."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import adbc_driver_sqlite.dbapi
import psycopg
import pytest
import sqlalchemy

from htcgrid_core import InvalidInput, sink, source
from htcgrid_core.data.base import shown

TYPES = """
SELECT 12345678901234567890.50::numeric AS n, date '2026-01-02' AS d, time '03:04:05' AS t, interval '90 s' AS i,
  timestamptz '2026-01-02 03:04:05.5+02' AS z, timestamp '2026-01-02 03:04:05' AS p, '\\x00ff'::bytea AS b,
  '00000000-0000-0000-0000-000000000001'::uuid AS u, ARRAY[1, 2] AS a, '{"k": [1, null]}'::jsonb AS j, NULL::int AS x,
  9007199254740993 AS l, 'NaN'::float8 AS f
"""


@pytest.fixture
def trades(database: Any, engine_url: str) -> str:
    database.execute(
        "CREATE TABLE trades AS SELECT i AS id, i % 3 AS desk, 'T' || i AS name FROM generate_series(1, 50) i"
    )
    return engine_url


def test_types_as_objects_and_as_json(engine_url: str) -> None:
    found = source(engine_url, query=TYPES)
    (row,) = found
    assert str(row.pop("f")) == "nan"
    assert row == {
        "n": Decimal("12345678901234567890.50"), "d": date(2026, 1, 2), "t": time(3, 4, 5), "i": timedelta(seconds=90),
        "z": datetime(2026, 1, 2, 1, 4, 5, 500_000, tzinfo=UTC), "p": datetime(2026, 1, 2, 3, 4, 5), "b": b"\x00\xff",
        "u": UUID(int=1), "a": [1, 2], "j": {"k": [1, None]}, "x": None, "l": 2**53 + 1,
    }  # fmt: skip
    (plain,) = found.as_json()
    assert str(plain.pop("f")) == "nan"
    assert plain == {
        "n": "12345678901234567890.50", "d": "2026-01-02", "t": "03:04:05", "i": "PT90S",
        "z": "2026-01-02T01:04:05.500000+00:00", "p": "2026-01-02T03:04:05", "b": "AP8=",
        "u": "00000000-0000-0000-0000-000000000001", "a": [1, 2], "j": {"k": [1, None]}, "x": None, "l": 2**53 + 1,
    }  # fmt: skip


class Block:
    """What gives an engine, as Prefect's blocks and Airflow's hooks do."""

    def __init__(self, engine: Any) -> None:
        self.get_engine = lambda: engine


def test_every_kind_of_connection(trades: str, server: str) -> None:
    engine = sqlalchemy.create_engine(trades)
    query = {"query": "SELECT name FROM trades WHERE id BETWEEN :low AND 10 AND name <> 'a:b'", "order_by": "name"}
    expected = [{"name": f"T{number}"} for number in (10, 8, 9)]
    with engine.connect() as connection, psycopg.connect(server) as own:
        for place in (trades, engine, connection, own, Block(engine)):
            assert list(source(place, **query, parameters={"low": 8})) == expected
    engine.dispose()


def test_sqlite_and_adbc(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE trades (id, name)")
        connection.executemany("INSERT INTO trades VALUES (?, ?)", [(2, "b"), (1, "a")])
        connection.commit()
        rows = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
        query = "SELECT * FROM trades WHERE name LIKE '%' AND id < :most"
        for place in (connection, f"sqlite:///{path}"):
            assert list(source(place, query=query, parameters={"most": 9}, order_by=["id"])) == rows
    with adbc_driver_sqlite.dbapi.connect(str(path)) as adbc:
        assert list(source(adbc, query="SELECT * FROM trades", order_by="id")) == rows


def test_an_order_that_is_not_unique_is_refused(trades: str) -> None:
    with pytest.raises(InvalidInput, match=r"row 1: desk is not unique: 0"):
        list(source(trades, query="SELECT * FROM trades", order_by="desk"))
    with pytest.raises(InvalidInput, match=r"order_by='nope' is no column|column \"nope\" does not exist"):
        list(source(trades, query="SELECT * FROM trades", order_by="nope"))


def test_the_token_is_that_of_the_rows(trades: str, database: Any) -> None:
    def token(order_by: Any = ()) -> str:
        return source(trades, query="SELECT * FROM trades", order_by=order_by).token("price")

    first, ordered = token(), token("id")
    database.execute("UPDATE trades SET name = name WHERE id = 7")  # moves the row to the end of the table
    assert (token(), token("id")) == (first, ordered)
    database.execute("UPDATE trades SET name = 'x' WHERE id = 7")
    assert token() != first
    assert token("id") != ordered


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": "SELECT 1 / (id - 40) FROM trades"}, "division by zero"),
        ({"query": "SELECT * FROM nope"}, "nope"),
        ({"query": "DELETE FROM trades"}, "produce a result|gives no rows"),
        ({"query": "SELECT id, id FROM trades"}, "two columns 'id'"),
        ({"query": "SELECT 'infinity'::date"}, "infinity"),
        ({"query": "SELECT :a"}, None),
        ({"query": "SELECT 1", "parameters": {"a": 1}}, "no parameter :a"),
        ({"query": "SELECT :b", "parameters": {"a": 1}}, ":b has no value"),
        ({"query": "  "}, "is empty"),
    ],
)
def test_queries_that_are_no_good(trades: str, options: Any, message: str | None) -> None:
    with pytest.raises(InvalidInput, match=message):
        list(source(trades, **options))


def test_a_query_that_deletes_deletes_nothing(trades: str, database: Any) -> None:
    with pytest.raises(InvalidInput, match=r"produce a result|gives no rows"):
        list(source(trades, query="DELETE FROM trades"))
    assert database.execute("SELECT count(*) FROM trades").fetchone() == (50,)


def test_a_connection_that_is_lost_in_the_middle(trades: str, database: Any) -> None:
    rows = iter(source(trades, query="SELECT i AS id FROM generate_series(1, 3000000) i", order_by="id"))
    assert next(rows) == {"id": 1}
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(InvalidInput, match=r"airflow: .*(terminating|closed|lost)"):
        list(rows)


def test_whoever_stops_reading_lets_go(trades: str, database: Any) -> None:
    rows = iter(source(trades, query="SELECT * FROM trades, generate_series(1, 100000)"))
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    database.execute("DROP TABLE trades")


def test_passwords_are_not_told(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:s3cret@127.0.0.1:1/book"
    with pytest.raises(InvalidInput) as told:
        list(source(url, query="SELECT 1"))
    assert "s3cret" not in f"{told.value} {source(url, query='SELECT 1')!r}"
    with pytest.raises(InvalidInput) as told:
        source("postgresql+nope://me:s3cret@h/b", query="SELECT 1")
    assert "s3cret" not in str(told.value)


def test_what_is_no_connection() -> None:
    with pytest.raises(InvalidInput, match="a dict is no connection to a database"):
        source({}, query="SELECT 1")
    with pytest.raises(InvalidInput, match="say which rows with query="):
        source("sqlite://")


def test_a_connection_that_is_closed(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.close()
    with pytest.raises(InvalidInput, match="sqlite3 that was given cannot be used: Cannot operate"):
        source(connection, query="SELECT 1 AS x", order_by="x")
    with pytest.raises(InvalidInput, match="cannot be used"):
        sink(connection, table="x")


def test_a_first_row_without_a_key() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE trades (id)")
        connection.executemany("INSERT INTO trades VALUES (?)", [(None,), (1,)])
        assert list(source(connection, query="SELECT * FROM trades", order_by="id")) == [{"id": None}, {"id": 1}]


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("nope://me:s3cret@h/x", "nope://me:***@h/x"),
        ("nope://me:s3/cr@et@h/x?key=s3cret", "nope://me:***@h/x"),
        ("nope://container@account/x", "nope://container@account/x"),
        ("nope://host:8080/a@b?.parquet", "nope://host:8080/a@b?.parquet"),
    ],
)
def test_passwords_of_storages_are_not_told(uri: str, told: str) -> None:
    for opened in (source, lambda uri: sink(uri).check()):
        with pytest.raises(InvalidInput) as error:
            opened(uri)
        assert "s3cret" not in f"{error.value!r} {error.value.__cause__}"
        assert str(error.value).startswith(told.partition("?")[0].rpartition("/")[0])
    assert shown(f"of {uri}") == f"of {told}"


def test_other_databases_are_known_by_their_query() -> None:
    with pytest.raises(InvalidInput, match="the database's URL is none"):
        source("nope://me:s3cret@h/x", query="SELECT 1")
