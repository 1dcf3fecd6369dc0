"""Events that a server reads: from its process's file systems and databases into sessions, as a client sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import GridError, InvalidInput, SessionConflict, connect, server_source
from tests.data.test_folders import parquet
from tests.data.test_sessions import HANDLER, SCHEMA
from tests.e2e.support import fresh_grid
from tests.rest import Rest
from tests.served import key, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[tuple[str, list[str], Path]]:
    """A server's URL, the tokens of one who may do everything for two tenants and of one who may submit, a folder."""
    import psycopg

    folder = tmp_path_factory.mktemp("served")
    rows = [{"id": number, "day": None} for number in range(7)]
    parquet(folder / "lake" / "desk=a" / "x.parquet", rows, SCHEMA)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS served CASCADE")
        connection.execute("CREATE SCHEMA served")
        connection.execute(
            "CREATE TABLE served.trades AS SELECT i AS id, date '2026-01-02' AS day FROM generate_series(0, 6) i"
        )
    sources = {
        "rates": {
            "prefixes": [f"file://{folder}/lake/"],
            "connections": {"risk-db": {"url": "env:RISK_DB", "tables": ["served.trades"], "queries": True}},
        }
    }
    (folder / "sources.json").write_text(json.dumps(sources))
    keys = [key("all"), key("some", "read submit", tenants="rates")]
    environ = {"RISK_DB": server.replace("postgresql:", "postgresql+psycopg:")}
    with (
        fresh_grid(folder / "home") as url,
        serving(
            url, folder / "keys.json", "--sources", str(folder / "sources.json"), keys=keys, environ=environ
        ) as found,
    ):
        yield found.url, [one.secret for one in keys], folder


def test_a_clients_session_is_read_by_its_server(served: tuple[str, list[str], Path]) -> None:
    url, (token, _), folder = served
    with connect(url, api_token=token, allow_pickle=True) as grid:
        place = server_source(f"file://{folder}/lake/", where=["desk=a", "id<5"])
        told: list[int] = []
        session = grid.submit(HANDLER, place, tenant="rates", token="five", on_progress=told.append)
        assert [result["value"] for result in session.results()] == [0.0, 2.0, 4.0, 6.0, 8.0]
        assert told[-1] == 5
        assert next(session.events()) == {"id": 0, "day": None, "desk": "a"}
        assert grid.submit(HANDLER, place, tenant="rates", token="five").id == session.id
        with pytest.raises(SessionConflict):
            grid.submit(HANDLER, server_source(f"file://{folder}/lake/"), tenant="rates", token="five")
        called = grid.submit(lambda row: row["day"], server_source(
            connection="risk-db", table="served.trades", order_by="id"), tenant="rates", token="objects")  # fmt: skip
        assert {str(day) for day in called.results()} == {"2026-01-02"}


def test_once_is_once_until_the_input_changes(served: tuple[str, list[str], Path], server: str) -> None:
    import psycopg

    url, (token, _), folder = served
    rows = [{"id": number, "day": None} for number in range(3)]
    table = server_source(connection="risk-db", table="served.trades", order_by="id", once="price")
    files = server_source(f"file://{folder}/lake/once/", once="price")
    with connect(url, api_token=token) as grid:
        for source in (files, table):
            parquet(folder / "lake" / "once" / "x.parquet", rows, SCHEMA)
            first, again = (grid.submit(HANDLER, source, tenant="rates", retry=1) for _ in range(2))
            assert first.id == again.id
            parquet(folder / "lake" / "once" / "x.parquet", rows[:2], SCHEMA)
            with psycopg.connect(server) as connection:
                connection.execute("DELETE FROM served.trades WHERE id = (SELECT max(id) FROM served.trades)")
            assert grid.submit(HANDLER, source, tenant="rates", retry=1).id != first.id


def test_refusals_reach_the_client_with_the_place(served: tuple[str, list[str], Path]) -> None:
    url, (token, _), folder = served
    (folder / "lake" / "bad").mkdir()
    (folder / "lake" / "bad" / "x.jsonl").write_text('{"id": 1}\n{nonsense\n')
    lake = f"file://{folder}/lake/"
    with connect(url, api_token=token) as grid:
        for source, message in (
            (server_source(f"file://{folder}/keys.json"), "is not below a prefix"),
            (server_source(f"{lake}../keys.json"), "is not read"),
            (server_source(f"{lake}nothing.parquet"), "nothing.parquet"),
            (server_source(f"{lake}bad/"), r"x\.jsonl, line 2"),
            (server_source(lake, where=["nope=1"]), "no column 'nope'|several kinds"),
            (server_source(connection="other", table="t", order_by="id"), "no connection 'other'"),
            (server_source(connection="risk-db", query="SELECT nope", order_by="id"), "connection 'risk-db': .*nope"),
            (server_source(connection="risk-db", query="DELETE FROM served.trades", order_by="id"), "'risk-db': "),
            (server_source(connection="risk-db", query="SELECT 1 AS n FROM served.trades", order_by="n"), "not unique"),
        ):  # fmt: skip
            with pytest.raises(InvalidInput, match=message):
                grid.submit(HANDLER, source, tenant="rates", token=message, name="refused")
        with pytest.raises(InvalidInput, match="for the tenant: none"):
            grid.submit(HANDLER, server_source(lake), tenant="credit", token="others")
        with pytest.raises(InvalidInput, match="name it, by token="):
            grid.submit(HANDLER, server_source(lake), tenant="rates")
        assert [one for one in grid.sessions() if one.name == "refused" and one.progress().total] == []


def test_rows_refer_to_no_shared_input_of_another_tenant(served: tuple[str, list[str], Path]) -> None:
    url, (token, some), folder = served
    with connect(url, api_token=token) as grid:
        theirs = grid.put({"id": 1, "day": "secret"})
    reference = {"$htcgrid.shared": theirs.digest, "codec": "json"}
    (folder / "lake" / "shared").mkdir()
    (folder / "lake" / "shared" / "x.jsonl").write_text(json.dumps(reference) + "\n")
    rest = Rest(url, some)
    body = {
        "function": "echo",
        "tenant": "rates",
        "id": "rates.s-shared",
        "from": {"place": f"file://{folder}/lake/shared/"},
    }
    deployed(Rest(url, token))
    answer = rest.post("/v1/sessions", body)
    assert (answer.status, answer.json["code"]) == (422, "invalid-input")
    assert f"shared input {theirs.digest} is not in this grid" in answer.json["detail"]


def deployed(rest: Rest) -> None:
    """A function for tenant ``rates``."""
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("echo.py", "def handler(event, context):\n    return event\n")
    answer = rest.ask("POST", "/v1/functions/echo", packed.getvalue(), media="application/zip", handler="echo.handler",
                      tenant="rates")  # fmt: skip
    assert answer.status == 201, answer.body


def test_any_client_may_ask(served: tuple[str, list[str], Path]) -> None:
    url, (token, some), _ = served
    deployed(Rest(url, token))
    rest = Rest(url, some)
    source = {
        "connection": "risk-db",
        "table": "served.trades",
        "order_by": ["id"],
        "columns": ["id"],
        "where": ["id<2"],
    }
    body: dict[str, Any] = {"function": "echo", "from": source}
    for _ in range(2):
        answer = rest.post("/v1/sessions", body, headers={"Idempotency-Key": "two"})
        assert answer.status == 201, answer.body
        assert answer.json["total"] == 2
    rest.ended(answer.json["id"])
    lines = rest.get(f"/v1/sessions/{answer.json['id']}/results").lines
    assert [line["result"] for line in lines] == [{"id": 0}, {"id": 1}]
    for wrong, status in (
        ({"from": source}, 422), ({"from": {**source, "once": "x"}, "id": "rates.s-12"}, 422),
        ({"from": source, "events": [1], "id": "rates.s-12"}, 400), ({"from": {"place": "x", "url": "y"}}, 400),
        ({"from": {**source, "connection": "other"}, "id": "rates.s-12"}, 422),
    ):  # fmt: skip
        answer = rest.post("/v1/sessions", {"function": "echo", **wrong})
        assert answer.status == status, answer.body
        assert "postgres" not in answer.body.decode()


def test_other_grids_have_no_server_that_reads(tmp_path: Path) -> None:
    why = r"has no server that would read file:///x/: read it here, with source"
    with fresh_grid(tmp_path / "home") as url, connect(url) as grid, pytest.raises(GridError, match=why):
        grid.submit(HANDLER, server_source("file:///x/"), token="x")
