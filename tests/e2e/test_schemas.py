"""Functions with schemas, from deployment to results: what does not fit is refused, put aside, or fails its task."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import BaseModel
from typing_extensions import TypedDict

from htcgrid_core import Grid, IncompatibleGrid, InvalidEvents, InvalidInput, InvalidResult, TaskFailed, connect, sink
from htcgrid_core.domain import agent_version
from tests.e2e.command_line import CommandLine
from tests.e2e.support import ended, fresh_grid
from tests.planes import plane_of
from tests.rest import NDJSON, Rest
from tests.served import Server, key, serving

CODE = """
from typing_extensions import TypedDict

print("importing")


class Trade(TypedDict):
    notional: float


class Value(TypedDict):
    value: float


def handler(event: Trade, context) -> Value:
    return {"value": "none" if event["notional"] < 0 else 2 * event["notional"]}


def plain(event, context):
    return event
"""
BOOTSTRAP = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
headers=$(mktemp)
while event=$(curl -sSf -D "$headers" "$api/next"); do
    id=$(sed -n "s/^lambda-runtime-aws-request-id: *//Ip" "$headers" | tr -d "\\r")
    curl -sSf "$api/$id/response" -d "$event" > /dev/null
done
"""
EVENTS = {"type": "object", "properties": {"notional": {"type": "number"}}, "required": ["notional"]}
RESULTS = {"type": "object", "properties": {"value": {"type": "number"}}, "required": ["value"]}
KEY = key("desk", "read submit code", "acme")


class Trade(BaseModel):
    notional: float


class Valued(TypedDict):
    value: float


def annotated(event: Trade, context: Any) -> Valued:
    return {"value": event.notional}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a function."""
    folder = tmp_path_factory.mktemp("schemas") / "pricing"
    folder.mkdir()
    (folder / "app.py").write_text(CODE)
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with fresh_grid(folder.parent / "grid") as url:
        yield url


@pytest.fixture(scope="module")
def grid(url: str, folder: Path) -> Iterator[Grid]:
    """One where the function is deployed with both schemas."""
    with connect(url) as grid:
        grid.deploy("pricing", folder, handler="app.handler", events_schema=EVENTS, results_schema=RESULTS)
        yield grid


@pytest.fixture(scope="module")
def server(grid: Grid, folder: Path) -> Iterator[Server]:
    with serving(grid.url, folder.parent / "keys.json", keys=[KEY]) as found:
        yield found


@pytest.fixture(scope="module")
def remote(server: Server, folder: Path) -> Iterator[Grid]:
    """The same grid through a server, whose tenant has a function of the same kind."""
    with connect(server.url, api_token=KEY.secret) as grid:
        grid.deploy("pricing", folder, handler="app.handler", events_schema=EVENTS, results_schema=RESULTS)
        yield grid


@pytest.fixture(params=["grid", "remote"])
def either(request: pytest.FixtureRequest) -> Grid:
    found: Grid = request.getfixturevalue(request.param)
    return found


# Deploying


@pytest.mark.parametrize("takes", [EVENTS, Trade, annotated, "handler"], ids=["json", "model", "function", "handler"])
def test_what_a_schema_may_be(either: Grid, folder: Path, takes: Any) -> None:
    version = either.deploy("takes", folder, handler="app.handler", events_schema=takes)
    schema: Any = version.events_schema
    assert schema["properties"]["notional"]["type"] == "number"
    with pytest.raises(InvalidEvents, match=r"events of takes:\d+: 1 of 2 .*\n  row 1: "):
        either.submit("takes", [{"notional": 1}, {}])


def test_what_the_handler_returns(grid: Grid, folder: Path) -> None:
    for given in ("handler", annotated, Valued):
        version = grid.deploy("gives", folder, handler="app.handler", results_schema=given)
        assert version.results_schema is not None
        assert version.results_schema["required"] == ["value"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"handler": "app.plain", "events_schema": "handler"}, "plain says of no type what its events are"),
        ({"handler": "app.plain", "results_schema": "handler"}, "annotate what it returns"),
        ({"handler": "app.handler", "events_schema": "trade"}, "events_schema='trade'"),
        ({"handler": "app.handler", "events_schema": {"type": "trade"}}, "of its events, .*no JSON Schema: type: "),
        ({"handler": "app.handler", "events_schema": object()}, "is no schema"),
        ({"handler": "app.handler", "runtime": "python3.99", "events_schema": "handler"}, r"python3\.99"),
    ],
)
def test_what_is_no_schema_is_refused(grid: Grid, folder: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        grid.deploy("refused", folder, **options)
    assert grid.functions("refused") == []


def test_agents_and_clients_that_would_not_check_leave_it_alone(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    session = grid.submit("pricing", [{"notional": 1}])
    assert grid.session(session.id).spec.min_agent_version == agent_version.SCHEMAS_AGENT_VERSION
    ended(session)
    monkeypatch.setattr(agent_version, "AGENT_VERSION", agent_version.SCHEMAS_AGENT_VERSION - 1)
    with pytest.raises(IncompatibleGrid, match="use the release that wrote it"):
        grid.submit("pricing", [{}])


# Submitting


def test_nothing_is_written_of_what_is_refused(grid: Grid) -> None:
    before, blobs = len(grid.sessions()), plane_of(grid).blobs.keys("sessions/")
    with pytest.raises(InvalidEvents) as caught:
        grid.submit("pricing", [{"notional": 1}, {"notional": "1"}, {}], token="refused")
    assert [(one.row, one.path) for one in caught.value.problems] == [(1, "notional"), (2, "")]
    assert len(grid.sessions()) == before
    assert plane_of(grid).blobs.keys("sessions/") == blobs
    assert grid.submit("pricing", [{"notional": 1}], token="refused").progress().total == 1, "the token is free"


def test_rejects_are_put_aside_and_the_others_run(either: Grid, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    rows = [{"notional": n} if n % 3 else {"n": n} for n in range(10)]
    session = either.submit("pricing", iter(rows), rejects=rejects)
    assert ended(session).completed == 6
    assert [result["value"] for result in session.results()] == [2, 4, 8, 10, 14, 16]
    told = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(one["row"], one["event"]) for one in told] == [(n, {"n": n}) for n in (0, 3, 6, 9)]
    assert [list(one["errors"][0]) for one in told] == [["path", "reason"]] * 4
    assert os.listdir(tmp_path) == ["rejects.jsonl"]


def test_rejects_in_a_sink(grid: Grid, tmp_path: Path) -> None:
    """The same submission again replaces what it put there."""
    for _ in range(2):
        session = grid.submit(
            "pricing", [{"notional": 1}, {}], rejects=sink(tmp_path / "r", kind="jsonl"), token="sink"
        )
    (row,) = [json.loads(line) for file in (tmp_path / "r").rglob("*.jsonl") for line in file.read_text().splitlines()]
    assert (row["session"], row["task_index"], row["path"], row["event"]) == (session.id, 1, "", "{}")
    assert "notional" in row["reason"]


def test_rejects_that_can_be_put_nowhere(grid: Grid, tmp_path: Path) -> None:
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("pricing", {"rejects": tmp_path / "none" / "r.jsonl"}, "cannot be written"),
        ("pricing", {"rejects": 7}, "not a int"),
        ("pricing", {"rejects": tmp_path / "r", "validate": "sample"}, "needs validate='all'"),
        ("tests.e2e.handlers.double", {"rejects": tmp_path / "r"}, "this one has none"),
        ("pricing", {"validate": "some"}, "validate='some': all, sample, off"),
    ]
    before = len(grid.sessions())
    for function, options, says in refused:
        with pytest.raises(InvalidInput, match=says):
            grid.submit(function, [{}], **options)
    assert len(grid.sessions()) == before
    assert os.listdir(tmp_path) == []


# Results


def test_a_result_that_does_not_fit_fails_once(either: Grid) -> None:
    session = either.submit("pricing", [{"notional": 1}, {"notional": -1}], retry=3)
    assert ended(session).failed == 1
    results = list(session.results(errors="return"))
    assert results[0] == {"value": 2}
    failure = results[1]
    assert isinstance(failure, InvalidResult)
    assert isinstance(failure, TaskFailed)
    assert failure.error.type == "ResultMisfit"
    assert failure.error.message == (
        'the result is not what its function\'s schema says: value: "none" is not of type "number"'
    )
    assert session.task(1).attempts == 1


def test_a_result_of_a_runtime_client_likewise(grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "echo").mkdir()
    bootstrap = tmp_path / "echo" / "bootstrap"
    bootstrap.write_text(BOOTSTRAP)
    bootstrap.chmod(0o755)
    grid.deploy("echo", tmp_path / "echo", runtime="provided.al2023", results_schema={"type": "integer"})
    session = grid.submit("echo", [1, "one", 2], retry=3)
    assert (ended(session).completed, session.progress().failed) == (2, 1)
    failed = session.task(1)
    assert failed.error is not None
    assert (failed.error.type, failed.attempts) == ("ResultMisfit", 1)


# Other doors


def test_over_rest(server: Server, remote: Grid) -> None:
    """Rows, paths and reasons in the answer, of events in the request and of parts that were uploaded."""
    rest = Rest(server.url, KEY.secret)
    new = {"function": "pricing", "events": [{"notional": 1}, {}, {"notional": "1"}]}
    answer = rest.post("/v1/sessions", new)
    assert (answer.status, answer.json["code"], answer.json["bad"], answer.json["checked"]) == (
        422,
        "invalid-events",
        2,
        3,
    )
    assert [(one["row"], one["path"]) for one in answer.json["problems"]] == [(1, ""), (2, "notional")]
    assert "1" in answer.json["problems"][1]["reason"]
    assert rest.post("/v1/sessions", {**new, "validate": "off"}).status == 201
    opened = rest.post("/v1/sessions", {**new, "events": None}).json
    path = f"/v1/sessions/{opened['id']}"
    rest.put(f"{path}/parts/0", b'{"notional":1}\n{"notional":2}\n', media=NDJSON)
    rest.put(f"{path}/parts/1", b'{"notional":3}\n{"notional":null}\n', media=NDJSON)
    sealed = rest.post(f"{path}/seal", {"parts": 2, "wait": 20})
    assert (sealed.status, sealed.json["code"]) == (422, "invalid-events")
    assert [(one["row"], one["path"]) for one in sealed.json["problems"]] == [(3, "notional")]
    assert (rest.get(path).json["state"], rest.get(path).json["total"]) == ("FAILED", 0)
    assert opened["id"] not in {one["id"] for one in rest.get("/v1/sessions").json["sessions"]}


def test_a_version_deployed_over_rest(server: Server) -> None:
    rest, buffer = Rest(server.url, KEY.secret), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", CODE)
    query = {"handler": "app.handler", "events_schema": json.dumps(EVENTS)}
    path = f"/v1/functions/rested?{urlencode(query)}"
    made = rest.ask("POST", path, buffer.getvalue(), media="application/zip")
    assert (made.status, made.json["events_schema"], made.json["results_schema"]) == (201, EVENTS, None)
    for wrong in ("{", '"x"', '{"type": 1}'):
        answer = rest.ask(
            "POST",
            f"/v1/functions/no?{urlencode({**query, 'events_schema': wrong})}",
            buffer.getvalue(),
            media="application/zip",
        )
        assert answer.status == 422, answer.body
    assert rest.get("/v1/functions/no").status == 404


def test_through_the_lambda_api(server: Server, remote: Grid) -> None:
    """A payload that does not fit is refused as AWS refuses one, and none of those that were sent beside it."""
    client = boto3.client(
        "lambda",
        endpoint_url=server.url,
        region_name="eu-west-1",
        aws_access_key_id=KEY.id,
        aws_secret_access_key=KEY.secret,
        config=Config(retries={"total_max_attempts": 1}),
    )
    assert json.loads(client.invoke(FunctionName="pricing", Payload=b'{"notional":1}')["Payload"].read()) == {
        "value": 2
    }
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName="pricing", Payload=b'{"notional":"1"}')
    assert caught.value.response["Error"]["Code"] == "InvalidRequestContentException"
    assert "notional" in str(caught.value)
    misfit = client.invoke(FunctionName="pricing", Payload=b'{"notional":-1}')
    assert misfit["FunctionError"] == "Unhandled"
    assert json.loads(misfit["Payload"].read())["errorType"] == "ResultMisfit"


def test_on_the_command_line(url: str, grid: Grid, folder: Path, tmp_path: Path) -> None:
    cli = CommandLine.in_folder(tmp_path / "work", url)
    (cli.folder / "events.json").write_text(json.dumps(EVENTS))
    (cli.folder / "book.jsonl").write_text('{"notional":1}\n{}\n')
    schemas = ("--events-schema", "events.json", "--results-schema", "handler")
    deploy = ("functions", "deploy", "cli", str(folder), "--handler", "app.handler", *schemas)
    assert cli.call(*deploy).out == "cli:1\n"
    assert cli.call("functions", "describe", "cli", "--json").object["events_schema"] == EVENTS
    assert '"notional"' in cli.call("functions", "describe", "cli").out
    assert "events, results" in cli.call("functions", "list", "cli").out
    refused = cli.call("submit", "cli", "--events", "book.jsonl")
    assert refused.code == 2
    assert 'events of cli:1: 1 of 2 events are not what they should be\n  row 1: "notional"' in refused.err
    refused = cli.call("submit", "cli", "--events", "book.jsonl", "--rejects", "book.jsonl")
    assert (refused.code, "where the events are read from" in refused.err) == (2, True)
    session = cli.session("cli", "--events", "book.jsonl", "--rejects", "no.jsonl", "--wait", "--no-progress")
    assert cli.call("results", session).out == '{"value": 2}\n'
    assert json.loads((cli.folder / "no.jsonl").read_text())["row"] == 1
    invoked = cli.call("functions", "invoke", "cli", "{}")
    assert (invoked.code, "notional" in invoked.err) == (2, True)
    misfit = cli.call("functions", "invoke", "cli", '{"notional": -1}')
    assert (misfit.code, "ResultMisfit" in misfit.err) == (1, True)


def test_the_error_travels(grid: Grid) -> None:
    with pytest.raises(InvalidEvents) as caught:
        grid.submit("pricing", [{}])
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.problems) == (str(caught.value), caught.value.problems)
