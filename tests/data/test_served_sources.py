"""What a server reads for others: what may be registered and named, and every way out of it that was thought of."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import InvalidInput, server_source
from htcgrid_core.data.base import Source
from htcgrid_core.data.confined import check_prefix, prefix_of
from htcgrid_core.data.served_sources import ServedSources

PREFIXES = ("s3://lake/rates/", "file:///data/rates/")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prefix with two files, and a file beside it that is nobody's."""
    made = tmp_path / "rates"
    (made / "day=1").mkdir(parents=True)
    (made / "a.jsonl").write_text('{"id": 1}\n')
    (made / "day=1" / "b.jsonl").write_text('{"id": 2}\n')
    (tmp_path / "secret.jsonl").write_text('{"id": 3}\n')
    return made


def registered(tmp_path: Path, **rates: Any) -> ServedSources:
    """Settings in a file, for tenant ``rates``."""
    file = tmp_path / "sources.json"
    file.write_text(json.dumps({"rates": rates}))
    file.chmod(0o600)
    return ServedSources.read(file)


def opened(sources: ServedSources, place: str | None = None, **options: Any) -> Source:
    return sources.open("rates", server_source(place, **options))


def ids(found: Source) -> list[int]:
    return [row["id"] for row in found.as_json()]


def test_files_below_a_prefix(tmp_path: Path, folder: Path) -> None:
    sources = registered(tmp_path, prefixes=[f"file://{folder}/"])
    for place, expected in (("", [1, 2]), ("/a.jsonl", [1]), ("/day=1/", [2]), ("/*/b*.jsonl", [2])):
        assert ids(opened(sources, f"file://{folder}{place}")) == expected
    found = opened(sources, f"file://{folder}/")
    (folder / "a.jsonl").write_text('{"id": 7}\n{"id": 8}\n')
    with pytest.raises(InvalidInput, match=r"a\.jsonl has changed"):
        ids(found)


@pytest.mark.parametrize("place", [
    "s3://lake/rates-of-others/x", "s3://lake/", "s3://lake2/rates/x", "S3://lake/rates/x", "gs://lake/rates/x",
    "http://169.254.169.254/latest/meta-data/", "s3://lake/rates/../other/x", "s3://lake/rates/%2e%2e/other/x",
    "s3://lake/rates/x?endpoint_override=evil.example&scheme=http", "s3://key:secret@lake/rates/x",
    "s3://lake/rates/x#y", "s3://lake/rates//x", "s3://lake/rates/./x", "s3://lake/rates/a\\..\\x",
    "s3://lake/rates/a\nb", "file:///data/rates/../x", "file:///data/rates/a/../../x", "/data/rates/x",
    "file://localhost/data/rates/x", "delta:s3://lake/rates/x", "iceberg://rates/a.b", "sqlite:////data/rates/x.db",
    "s3://lake/r*/x", "file:///data/*/x",
])  # fmt: skip
def test_places_that_are_not_below_a_prefix(place: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not below a prefix|is not read"):
        prefix_of(place, PREFIXES)


@pytest.mark.parametrize(
    "prefix", ["s3://lake", "s3://lake/x", "file://data/", "http://x/", "s3://lake/../", "s3://lake/*/", "file:///a//"]
)
def test_prefixes_that_are_none(prefix: str) -> None:
    with pytest.raises(InvalidInput, match="is no prefix"):
        check_prefix(prefix)


def test_links_are_not_followed_wherever_they_lead(tmp_path: Path, folder: Path) -> None:
    sources = registered(tmp_path, prefixes=[f"file://{folder}/"])
    for name, target in (("out.jsonl", tmp_path / "secret.jsonl"), ("in.jsonl", folder / "a.jsonl"), ("up", tmp_path)):
        link = folder / name
        link.symlink_to(target)
        for place in (f"file://{folder}/", f"file://{link}", f"file://{folder}/*.jsonl"):
            with pytest.raises(InvalidInput, match="a link"):
                opened(sources, place)
        link.unlink()
    (folder / "up").symlink_to(tmp_path)
    with pytest.raises(InvalidInput, match="there is a link"):
        opened(sources, f"file://{folder}/up/secret.jsonl")
    through = f"file://{folder}/up/rates/day=1/"  # the operator's own link
    assert ids(opened(registered(tmp_path, prefixes=[through]), through)) == [2]


def test_a_file_that_becomes_a_link_while_it_is_read(tmp_path: Path, folder: Path) -> None:
    found = opened(registered(tmp_path, prefixes=[f"file://{folder}/"]), f"file://{folder}/")
    (folder / "a.jsonl").unlink()
    (folder / "a.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(InvalidInput, match="there is a link"):
        ids(found)
    (folder / "day=1").rename(folder / "day=2")
    (tmp_path / "day=1").mkdir()
    os.link(tmp_path / "secret.jsonl", tmp_path / "day=1" / "b.jsonl")
    (folder / "day=1").symlink_to(tmp_path / "day=1")
    rows = iter(found._place.open(str(folder / "day=2" / "b.jsonl")))  # type: ignore[attr-defined]
    assert next(rows) == b'{"id": 2}\n'
    with pytest.raises(InvalidInput, match="there is a link"):
        found._place.open(str(folder / "day=1" / "b.jsonl"))  # type: ignore[attr-defined]


def test_a_pipe_is_no_file(tmp_path: Path, folder: Path) -> None:
    os.mkfifo(folder / "p.jsonl")
    with pytest.raises(InvalidInput, match="it is no file"):
        ids(opened(registered(tmp_path, prefixes=[f"file://{folder}/"]), f"file://{folder}/"))


def test_what_a_server_does_not_read(tmp_path: Path, folder: Path) -> None:
    sources = registered(tmp_path, prefixes=[f"file://{folder}/"])
    (folder / "x.json").write_text("[1]")
    with pytest.raises(InvalidInput, match="JSON array is read whole"):
        opened(sources, f"file://{folder}/x.json")
    (folder / "lake" / "_delta_log").mkdir(parents=True)
    with pytest.raises(InvalidInput, match="holds a Delta table"):
        opened(sources, f"file://{folder}/")
    with pytest.raises(InvalidInput, match="not below a prefix that this server reads for the tenant: none"):
        sources.check("others", server_source(f"file://{folder}/"))


@pytest.mark.parametrize(("options", "message"), [
    ({}, "a place or a connection"),
    ({"place": "s3://a/b", "connection": "x"}, "a place or a connection"),
    ({"place": "s3://a/b", "query": "SELECT 1"}, "query is of a connection"),
    ({"connection": "x", "order_by": "id"}, "a table or a query"),
    ({"connection": "x", "table": "t"}, "read in an order"),
    ({"connection": "x", "table": "t", "order_by": "id", "parameters": {"a": 1}}, "parameters is not of a table"),
    ({"connection": "x", "query": "t", "order_by": "id", "where": "a=1"}, "where is not of a query"),
    ({"connection": "x", "table": "t", "order_by": "id", "encoding": "utf-8"}, "encoding is not of a table"),
    ({"connection": "X!", "table": "t", "order_by": "id"}, "connection"),
    ({"place": "s3://a/b", "storage_options": {}}, "storage_options"),
    ({"place": "s3://a/b", "kind": "json"}, "kind"),
])  # fmt: skip
def test_sources_that_are_described_wrongly(options: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        server_source(**options)


# Databases


@pytest.fixture
def book(tmp_path: Path) -> str:
    """A database of SQLite."""
    with sqlite3.connect(tmp_path / "book.db") as connection:
        connection.execute('CREATE TABLE "order" (id INTEGER PRIMARY KEY, desk TEXT)')
        connection.executemany('INSERT INTO "order" VALUES (?, ?)', [(n, "ab"[n % 2]) for n in range(6)])
        connection.execute("CREATE TABLE salaries (id INTEGER PRIMARY KEY)")
    return f"sqlite:///{tmp_path}/book.db"


def test_tables_that_are_registered(tmp_path: Path, book: str) -> None:
    sources = registered(tmp_path, connections={"risk-db": {"url": book, "tables": ["order"]}})
    named: dict[str, Any] = {"connection": "risk-db", "order_by": "id"}
    assert ids(opened(sources, table="order", where=["desk=b", "id>1"], columns=["id"], **named)) == [3, 5]
    assert ids(opened(sources, table="order", where=[["id", "in", [4, 2]]], **named)) == [2, 4]
    first, again = (opened(sources, table="order", **named) for _ in range(2))
    assert first.token("price") == again.token("price")
    for table in ("salaries", 'order"; DROP TABLE salaries; --', "main.order", "order "):
        with pytest.raises(InvalidInput, match="is no table that is registered: order"):
            sources.check("rates", server_source(table=table, **named))
    with pytest.raises(InvalidInput, match="takes no queries"):
        sources.check("rates", server_source(query="SELECT 1", **named))
    with pytest.raises(InvalidInput, match="no connection 'other' for the tenant: risk-db"):
        sources.check("rates", server_source(connection="other", table="order", order_by="id"))
    with pytest.raises(InvalidInput, match=r"no column of the query|no such column"):
        ids(opened(sources, table="order", columns=['id" FROM salaries --'], **named))


def test_queries_read_only_one_statement_for_a_while(tmp_path: Path, book: str) -> None:
    sources = registered(tmp_path, connections={"risk-db": {"url": book, "queries": True, "timeout": 0.2}})
    named: dict[str, Any] = {"connection": "risk-db", "order_by": "id"}
    query = 'SELECT id FROM "order" WHERE desk = :desk'
    assert ids(opened(sources, query=query, parameters={"desk": "a"}, **named)) == [0, 2, 4]
    for bad in (
        'DELETE FROM "order" RETURNING id', "SELECT 1 AS id) x; DELETE FROM salaries; --",
        "WITH x AS (DELETE FROM salaries RETURNING id) SELECT * FROM x", "PRAGMA query_only = OFF",
        "ATTACH '/etc/passwd' AS p", "SELECT load_extension('x') AS id", "SELECT * FROM read_csv('/etc/passwd')",
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match="connection 'risk-db'"):
            ids(opened(sources, query=bad, **named))
    endless = "WITH RECURSIVE x(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM x) SELECT max(id) AS id FROM x"
    with pytest.raises(InvalidInput, match="connection 'risk-db': interrupted"):
        ids(opened(sources, query=endless, **named))
    with sqlite3.connect(tmp_path / "book.db") as connection:
        assert connection.execute('SELECT count(*) FROM "order"').fetchone() == (6,)


@pytest.fixture
def reader(engine_url: str, database: Any) -> str:
    """A URL for an owner of tables, who could do everything with them."""
    database.execute("CREATE TABLE trades (id int PRIMARY KEY, day date)")
    database.execute("INSERT INTO trades SELECT i, date '2026-01-01' + i FROM generate_series(0, 5) i")
    return engine_url


def test_postgresql_is_read_only_and_ends(tmp_path: Path, reader: str, database: Any) -> None:
    sources = registered(tmp_path, connections={"risk-db": {"url": reader, "queries": True, "timeout": 0.5}})
    named: dict[str, Any] = {"connection": "risk-db", "order_by": "id"}
    assert ids(opened(sources, table="trades", where=["day>=2026-01-04", "id!=4"], **named)) == [3, 5]
    database.execute("CREATE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM trades; SELECT 1'")
    for bad in (
        "SELECT wipe() AS id", "SELECT 1 AS id) x; DELETE FROM trades; --", "SELECT 1 AS id) x; COMMIT; --",
        "WITH x AS (DELETE FROM trades RETURNING id) SELECT id FROM x", "SELECT id FROM trades FOR UPDATE",
        "SELECT set_config('transaction_read_only', 'off', false) AS id", "COPY trades TO PROGRAM 'true'",
        "SELECT pg_sleep(30)::text AS id", "DO $$ BEGIN DELETE FROM trades; END $$",
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match="connection 'risk-db': "):
            ids(opened(sources, query=bad, **named))
    assert database.execute("SELECT count(*) FROM trades").fetchone() == (6,)


def test_a_connection_that_is_lost_in_the_middle(tmp_path: Path, reader: str, database: Any) -> None:
    sources = registered(tmp_path, connections={"risk-db": {"url": reader, "queries": True}})
    query = "SELECT i AS id FROM generate_series(1, 3000000) i"
    rows = iter(opened(sources, connection="risk-db", query=query, order_by="id").as_json())
    assert next(rows) == {"id": 1}
    others = "query LIKE '%generate_series(1, 3%' AND pid <> pg_backend_pid()"
    ended = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {others}"
    assert database.execute(ended).fetchone() == (1,)
    with pytest.raises(InvalidInput, match="connection 'risk-db': "):
        list(rows)


def test_of_a_connection_nobody_is_told_its_address(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = "postgresql+psycopg://lister:s3cr3t@127.0.0.1:1/book"
    sources = registered(tmp_path, connections={"risk-db": {"url": url, "tables": ["t"]}})
    found = opened(sources, connection="risk-db", table="t", order_by="id")
    with pytest.raises(InvalidInput) as caught:
        ids(found)
    told = f"{caught.value!r} {found!r} {sources!r} {found.name} {caught.value.__cause__!r}"
    assert not {"lister", "s3cr3t", "127.0.0.1", "book"} & set(told.replace("/", " ").replace(":", " ").split())
    assert "s3cr3t" not in told
    assert "cannot be opened" in caplog.text
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize(("rates", "message"), [
    ({"connections": {"x": {"url": "duckdb:///:memory:"}}}, "is none|reads postgresql"),
    ({"connections": {"x": {"url": "mysql://u:s3cr3t@h/d"}}}, "reads postgresql"),
    ({"connections": {"x": {"url": "no url s3cr3t"}}}, "its URL is none"),
    ({"connections": {"x": {"url": "env:HTCGRID_TEST_NOT_THERE"}}}, "no variable HTCGRID_TEST_NOT_THERE"),
    ({"connections": {"X Y": {"url": "sqlite:///x"}}}, "connections"),
    ({"connections": {"x": {"url": "sqlite:///x", "timeout": 0}}}, "timeout"),
    ({"prefixes": ["/data/"]}, "is no prefix"),
    ({"prefix": []}, "prefix"),
])  # fmt: skip
def test_settings_that_are_no_good(tmp_path: Path, rates: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        registered(tmp_path, **rates)
    assert "s3cr3t" not in str(caught.value)


def test_settings_with_a_password_are_their_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sources.json"
    file.write_text(json.dumps({"rates": {"connections": {"x": {"url": "sqlite:///x.db"}}}}))
    file.chmod(0o644)
    with pytest.raises(InvalidInput, match="chmod 600"):
        ServedSources.read(file)
    monkeypatch.setenv("BOOK_URL", "sqlite:///x.db")
    file.write_text(json.dumps({"rates": {"connections": {"x": {"url": "env:BOOK_URL"}}}}))
    assert ServedSources.read(file).tenants["rates"].connections["x"].url == "env:BOOK_URL"
    for text in ("{nonsense", "[]", '{"Rates!": {}}'):
        file.write_text(text)
        with pytest.raises(InvalidInput, match=str(file)):
            ServedSources.read(file)


def test_one_connection_is_used_by_many_at_once(tmp_path: Path, book: str) -> None:
    sources = registered(tmp_path, connections={"risk-db": {"url": book, "tables": ["order"]}})
    found: list[list[int]] = []

    def read() -> None:
        found.append(ids(opened(sources, connection="risk-db", table="order", order_by="id")))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [list(range(6))] * 8
