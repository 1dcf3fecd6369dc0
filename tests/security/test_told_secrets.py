"""Task tokens and secrets of webhooks: in the one row that carries them, and nowhere else that anybody reads."""

from __future__ import annotations

import base64
import json
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, InvalidInput, Session, StepFunctionsTask, connect
from htcgrid_core.domain.destination import Destination
from htcgrid_core.testing.contracts.facts import eventually
from tests.aws.emulators import Account, free_port
from tests.aws.grids import CloudUnderTest
from tests.aws.step_functions import StepFunctions, step_functions
from tests.e2e.command_line import CommandLine
from tests.e2e.support import REPOSITORY, directory_of, fresh_grid
from tests.planes import gateway_of, plane_of
from tests.security.test_canaries import files_with, rows_with

TOKEN = "AQCEAAAAKgAAAAMAAAAAAAAAAcanary5d2f7e"
KEY = b"canary-5d2f7e-of-a-webhook"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
SOUGHT = (TOKEN, SECRET, SECRET.removeprefix("whsec_"), KEY.decode())
FUNCTION = "tests.e2e.handlers.double"
COMMANDS = (
    ("status", "{}"), ("status", "{}", "--json"), ("sessions", "--json"), ("sessions",), ("tasks", "{}", "--json"),
    ("logs", "{}"), ("results", "{}"), ("destinations", "list"), ("destinations", "list", "--json"), ("load", "--json"),
    ("events", "--since", "1h"),
)  # fmt: skip


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[StepFunctions]:
    """Step Functions, whose refusals quote the token."""
    with step_functions() as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SFN", found.url)
        yield found


@contextmanager
def _webhook() -> Iterator[tuple[str, list[tuple[Mapping[str, str], bytes]]]]:
    heard: list[tuple[Mapping[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            return

        def do_POST(self) -> None:
            heard.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _run(grid: Grid, service: StepFunctions) -> tuple[Session, list[str]]:
    """A session of whose end both are told, and one whose task waits no more; all that a client is told of them."""
    with _webhook() as (url, heard):
        desk = Destination(name="desk", target=url, secret=SECRET, may_be_private=True, progress=(50,))
        grid.gateway.add_destination(desk)
        told = [repr(desk), repr(StepFunctionsTask(TOKEN))]
        service.instead.extend(["ThrottlingException", "AccessDenied"])  # which say what they were asked
        service.task(TOKEN)
        session = grid.submit(FUNCTION, range(4), name="book", notify=["desk", StepFunctionsTask(TOKEN)])
        session.wait(60)
        rows = eventually(session.notifications, lambda rows: all(row.is_settled for row in rows))
        with pytest.raises(InvalidInput) as refused:
            grid.submit(FUNCTION, range(4), notify=StepFunctionsTask(TOKEN))  # it has ended
        told += [str(refused.value), repr(rows), repr(grid.gateway.destinations()), repr(session.history())]
        told += [repr(gateway_of(grid).plane.outbox.of(session.id)), repr(session), repr(session.progress())]
        assert heard
        told += [f"{headers} {body!r}" for headers, body in heard]
        assert service.tasks[TOKEN].told is not None
        told.append(json.dumps(service.tasks[TOKEN].told))
        return session, told


def _found_in(texts: list[str]) -> list[str]:
    return [text[:200] for text in texts for sought in SOUGHT if sought in text]


def test_on_one_machine(tmp_path: Path, service: StepFunctions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY))
    for name, value in Account(service.url).environment.items():
        monkeypatch.setenv(name, value)
    with fresh_grid(tmp_path / "grid") as url:
        with connect(url) as grid:
            session, told = _run(grid, service)
        cli = CommandLine.in_folder(tmp_path / "work", url)
        for command in COMMANDS:
            done = cli.run(*(word.format(session.id) for word in command))
            told += [done.out, done.err]
        assert _found_in(told) == []
        root = directory_of(url).root
        assert rows_with(root, TOKEN.encode()) == {"notifications.body"}
        assert rows_with(root, SECRET.encode()) == {"destinations.body"}
        assert [files_with(root, sought.encode()) for sought in SOUGHT] == [set()] * len(SOUGHT)
        assert (root / "agents" / "0.log").exists()


def test_on_aws(service: StepFunctions, aws_cloud: CloudUnderTest, tmp_path: Path) -> None:
    """In no item but two, no object, no message in a queue, no line of a log and no metric."""
    aws_cloud.url = aws_cloud.url.partition("&endpoint=")[0]
    aws_cloud.environment["AWS_ENDPOINT_URL_SFN"] = service.url
    health = free_port()
    aws_cloud.start_agent("--health", str(health), HTCGRID_LOG_LEVEL="debug")
    with connect(aws_cloud.url) as grid:
        session, told = _run(grid, service)
        plane = plane_of(grid)
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/metrics", timeout=10) as page:
            metrics = page.read().decode()
        assert "htcgrid_commits_total" in metrics
        for command in COMMANDS:
            done = aws_cloud.run(*(word.format(session.id) for word in command))
            told += [done.stdout, done.stderr]
        assert "settled" in aws_cloud.logs()
        assert _found_in([*told, metrics, aws_cloud.logs()]) == []
        keys = {sought: _items_with(aws_cloud.account, plane.store.table.name, sought) for sought in SOUGHT}  # type: ignore[attr-defined]
    assert keys == {
        TOKEN: {(f"N#{session.id}", "step-functions")}, SECRET: {("DESTINATIONS", "desk")},
        SECRET.removeprefix("whsec_"): {("DESTINATIONS", "desk")}, KEY.decode(): set(),
    }  # fmt: skip
    s3 = aws_cloud.account.s3()
    for bucket in s3.list_buckets()["Buckets"]:
        for found in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            body = s3.get_object(Bucket=bucket["Name"], Key=found["Key"])["Body"].read()
            assert not [sought for sought in SOUGHT if sought.encode() in body or sought in found["Key"]]


def _items_with(account: Account, table: str, sought: str) -> set[tuple[str, str]]:
    found: Any = account.dynamodb().scan(TableName=table)
    assert "LastEvaluatedKey" not in found
    return {(item["pk"]["S"], item["sk"]["S"]) for item in found["Items"] if sought in str(item)}
