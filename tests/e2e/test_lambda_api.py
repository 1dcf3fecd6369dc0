"""The Lambda API, asked by boto3 as it is."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from mypy_boto3_lambda import LambdaClient

from htcgrid_core.api.auth.keys import Key
from htcgrid_core.api.lambda_api.running import GONE
from tests.e2e.support import eventually, fresh_grid
from tests.rest import Rest
from tests.served import Server, key, serving

CODE = """
import os
import sys
import time


def handler(event, context):
    print("hello", event)
    if event == "raise":
        raise ValueError("no such book")
    if event == "exit":
        os._exit(3)
    if event == "large":
        return "x" * 7_000_000
    if isinstance(event, dict) and "sleep" in event:
        time.sleep(event["sleep"])
    return {"event": event, "name": os.environ.get("BOOK", "")}
"""
KEYS = {
    "desk": key("desk", "read submit code", "acme"),
    "caller": key("caller", "submit", "acme"),
    "stranger": key("stranger", "read submit code", "other"),
    "many": key("many", "read submit code", "acme other"),
}


def _zipped(text: str = CODE) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("code.py", text)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of a fresh grid, in which tenant acme has a function."""
    folder: Path = tmp_path_factory.mktemp("lambda")
    with (
        fresh_grid(folder / "grid") as url,
        serving(url, folder / "keys.json", keys=list(KEYS.values())) as found,
    ):
        created = _client(found, "desk").create_function(
            FunctionName="pricing",
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/none",
            Handler="code.handler",
            Code={"ZipFile": _zipped()},
            Timeout=5,
            MemorySize=256,
            Environment={"Variables": {"BOOK": "rates"}},
        )
        assert (created["FunctionName"], created["State"]) == ("pricing", "Active")
        yield found


def _client(server: Server, who: str | Key, tries: int = 1, **options: Any) -> LambdaClient:
    found = KEYS[who] if isinstance(who, str) else who
    return boto3.client(
        "lambda",
        endpoint_url=server.url,
        region_name="eu-west-1",
        aws_access_key_id=found.id,
        aws_secret_access_key=found.secret,
        config=Config(retries={"total_max_attempts": tries, "mode": "legacy"}, **options),
    )


@pytest.fixture
def client(server: Server) -> LambdaClient:
    """Of one who may invoke, and nothing else."""
    return _client(server, "caller")


def test_a_request_is_answered(client: LambdaClient) -> None:
    answer = client.invoke(FunctionName="pricing", Payload=b'{"years": 12345678901234567890}', LogType="Tail")
    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer
    assert json.loads(answer["Payload"].read()) == {"event": {"years": 12345678901234567890}, "name": "rates"}
    assert answer["ExecutedVersion"] == "1"
    log = base64.b64decode(answer["LogResult"]).decode()
    request = answer["ResponseMetadata"]["RequestId"]
    assert log.startswith(f"START RequestId: {request} Version: 1\nhello {{'years'")
    assert f"END RequestId: {request}\nREPORT RequestId: {request}\tDuration: " in log


@pytest.mark.parametrize(
    "name",
    ["pricing:1", "pricing:$LATEST", "arn:aws:lambda:eu-west-1:000000000000:function:pricing", "function:pricing"],
)
def test_names_in_every_form(client: LambdaClient, name: str) -> None:
    answer = client.invoke(FunctionName=name, Payload=b"1")
    assert json.loads(answer["Payload"].read())["event"] == 1


def test_an_event_is_taken_and_a_dry_run_does_nothing(server: Server, client: LambdaClient) -> None:
    taken = client.invoke(FunctionName="pricing", InvocationType="Event", Payload=b"1")
    assert (taken["StatusCode"], taken["Payload"].read()) == (202, b"")
    rest = Rest(server.url, KEYS["desk"].secret)
    (session,) = (
        one
        for one in rest.get("/v1/sessions").json["sessions"]
        if one["name"] == f"invoke {taken['ResponseMetadata']['RequestId']}"
    )
    assert rest.ended(session["id"])["state"] == "COMPLETED"
    before = len(rest.get("/v1/sessions").json["sessions"])
    assert client.invoke(FunctionName="pricing", InvocationType="DryRun")["StatusCode"] == 204
    assert len(rest.get("/v1/sessions").json["sessions"]) == before


@pytest.mark.parametrize(
    ("event", "kind", "says"),
    [
        ("raise", "ValueError", "no such book"),
        ("exit", "Runtime.ExitError", "RequestId: "),
        ({"sleep": 60}, "Sandbox.Timedout", "Task timed out after 5.00 seconds"),
        ("large", "Function.ResponseSizeTooLarge", "6291556"),
    ],
)
def test_errors_of_functions(client: LambdaClient, event: Any, kind: str, says: str) -> None:
    answer = client.invoke(FunctionName="pricing", Payload=json.dumps(event).encode())
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    body = json.loads(answer["Payload"].read())
    assert body["errorType"] == kind
    assert says in body["errorMessage"]
    if kind == "ValueError":
        assert body["requestId"] == answer["ResponseMetadata"]["RequestId"]
        assert any('"code.py"' in line or "code.py" in line for line in body["stackTrace"])


def _code(error: ClientError) -> tuple[str, int]:
    return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"FunctionName": "nobodys"}, ("ResourceNotFoundException", 404)),
        ({"FunctionName": "pricing", "Qualifier": "7"}, ("ResourceNotFoundException", 404)),
        ({"FunctionName": "pricing", "Qualifier": "live"}, ("ResourceNotFoundException", 404)),
        ({"FunctionName": "pricing:1", "Qualifier": "2"}, ("InvalidParameterValueException", 400)),
        ({"FunctionName": "pricing", "Payload": b"{"}, ("InvalidRequestContentException", 400)),
        ({"FunctionName": "pricing", "Payload": b'"' + b"x" * 6_291_556 + b'"'}, ("RequestTooLargeException", 413)),
        (
            {"FunctionName": "pricing", "Payload": b'"' + b"x" * (1 << 20) + b'"', "InvocationType": "Event"},
            ("RequestTooLargeException", 413),
        ),
    ],
)
def test_what_is_refused(client: LambdaClient, options: Any, code: tuple[str, int]) -> None:
    with pytest.raises(ClientError) as caught:
        client.invoke(**options)
    assert _code(caught.value) == code


def test_scopes_and_tenants(server: Server) -> None:
    refused: list[tuple[str, Callable[[LambdaClient], object]]] = [
        ("caller", lambda client: client.list_functions()),
        ("caller", lambda client: client.update_function_code(FunctionName="pricing", ZipFile=_zipped())),
        ("many", lambda client: client.invoke(FunctionName="pricing")),
    ]
    for who, call in refused:
        with pytest.raises(ClientError) as caught:
            call(_client(server, who))
        assert _code(caught.value) == ("AccessDeniedException", 403)
    stranger = _client(server, "stranger")
    assert stranger.list_functions()["Functions"] == []
    for name in ("pricing", "acme__pricing"):
        with pytest.raises(ClientError) as caught:
            stranger.invoke(FunctionName=name)
        assert _code(caught.value) == ("ResourceNotFoundException", 404)


def test_a_new_version_and_an_alias_that_shifts_to_it(server: Server) -> None:
    desk = _client(server, "desk")
    desk.create_function(
        FunctionName="shifted", Runtime="python3.11", Role="r" * 20, Handler="code.handler",
        Code={"ZipFile": _zipped("def handler(event, context):\n    return 1\n")},
    )  # fmt: skip
    with pytest.raises(ClientError) as caught:
        desk.create_function(
            FunctionName="shifted", Runtime="python3.11", Role="r" * 20, Handler="code.handler",
            Code={"ZipFile": _zipped()},
        )  # fmt: skip
    assert _code(caught.value) == ("ResourceConflictException", 409)
    alias = desk.create_alias(FunctionName="shifted", Name="live", FunctionVersion="1")
    assert (alias["Name"], alias["FunctionVersion"]) == ("live", "1")
    second = _zipped("def handler(event, context):\n    return 2\n")
    assert desk.update_function_code(FunctionName="shifted", ZipFile=second, Publish=True)["Version"] == "2"
    assert [one["Version"] for one in desk.list_versions_by_function(FunctionName="shifted")["Versions"]] == [
        "$LATEST", "1", "2",
    ]  # fmt: skip

    def results(count: int) -> set[int]:
        invoked = (desk.invoke(FunctionName="shifted", Qualifier="live") for _ in range(count))
        return {json.loads(answer["Payload"].read()) for answer in invoked}

    assert results(2) == {1}
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    assert desk.update_alias(FunctionName="shifted", Name="live", RoutingConfig=weights)["RoutingConfig"] == weights  # type: ignore[arg-type]
    assert results(20) == {1, 2}
    desk.update_alias(FunctionName="shifted", Name="live", FunctionVersion="2", RoutingConfig={})
    assert results(2) == {2}
    assert desk.get_alias(FunctionName="shifted", Name="live")["FunctionVersion"] == "2"
    assert len(desk.list_aliases(FunctionName="shifted")["Aliases"]) == 1
    desk.delete_alias(FunctionName="shifted", Name="live")
    assert desk.list_aliases(FunctionName="shifted")["Aliases"] == []
    assert desk.get_function(FunctionName="shifted")["Configuration"]["Version"] == "$LATEST"


def test_functions_are_listed_in_pages(server: Server) -> None:
    pages = _client(server, "desk").get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1})
    names = [one["FunctionName"] for page in pages for one in page["Functions"]]
    assert "pricing" in names
    assert names == sorted(names)


def _trying_as(client: LambdaClient, invocation: str) -> LambdaClient:
    """One whose requests are all tries of one invocation."""

    def name_it(request: Any, **_: Any) -> None:
        request.context["retries"]["invocation-id"] = invocation  # of which botocore makes a header

    client.meta.events.register("before-sign.lambda.Invoke", name_it)
    return client


def test_tries_of_one_invocation_run_once(server: Server) -> None:
    client = _trying_as(_client(server, "caller"), "tried-twice")
    answers = [client.invoke(FunctionName="pricing", Payload=b"1") for _ in range(2)]
    first, second = (answer["ResponseMetadata"]["RequestId"] for answer in answers)
    assert first == second
    assert [json.loads(answer["Payload"].read())["event"] for answer in answers] == [1, 1]
    rest = Rest(server.url, KEYS["desk"].secret)
    named = [one for one in rest.get("/v1/sessions").json["sessions"] if one["name"] == f"invoke {first}"]
    assert len(named) == 1
    other = _trying_as(_client(server, "desk"), "tried-twice")
    assert other.invoke(FunctionName="pricing", Payload=b"1")["ResponseMetadata"]["RequestId"] != first


def test_a_try_after_its_caller_had_gone_runs(server: Server) -> None:
    client = _trying_as(_client(server, "caller"), "gone-and-back")
    taken = client.invoke(FunctionName="pricing", InvocationType="Event", Payload=b'{"sleep": 2}')
    rest = Rest(server.url, KEYS["desk"].secret)
    name = f"invoke {taken['ResponseMetadata']['RequestId']}"
    (session,) = (one for one in rest.get("/v1/sessions").json["sessions"] if one["name"] == name)
    rest.post(f"/v1/sessions/{session['id']}/cancel", {"reason": GONE})
    rest.ended(session["id"])
    answer = client.invoke(FunctionName="pricing", Payload=b'{"sleep": 2}')
    assert "FunctionError" not in answer
    assert json.loads(answer["Payload"].read())["event"] == {"sleep": 2}


NOTING = """
import time


def handler(event, context):
    with open(event["file"], "a") as file:
        file.write(f"{event['call']}\\n")
    time.sleep(0.2)
    return event["call"]
"""


@pytest.mark.slow
def test_a_server_that_is_killed_runs_nothing_twice(tmp_path: Path) -> None:
    calls, ran = 24, tmp_path / "ran"
    with fresh_grid(tmp_path / "grid") as url:
        keys = [KEYS["desk"]]
        with serving(url, tmp_path / "keys.json", keys=keys) as server:
            client = _client(server, "desk", tries=10, max_pool_connections=calls)
            client.create_function(
                FunctionName="noting", Runtime="python3.11", Role="r" * 20, Handler="code.handler",
                Code={"ZipFile": _zipped(NOTING)},
            )  # fmt: skip

            def invoke(number: int) -> Any:
                payload = json.dumps({"file": str(ran), "call": number}).encode()
                return json.loads(client.invoke(FunctionName="noting", Payload=payload)["Payload"].read())

            assert invoke(-1) == -1
            with ThreadPoolExecutor(calls) as pool:
                answers = pool.map(invoke, range(calls))
                eventually(lambda: len(ran.read_text().splitlines()) > 2, "a call that was shared has run")
                server.kill()
                with serving(url, tmp_path / "keys.json", "--port", str(urlsplit(server.url).port), keys=keys):
                    assert list(answers) == list(range(calls))
    assert sorted(map(int, ran.read_text().split())) == [-1, *range(calls)]
