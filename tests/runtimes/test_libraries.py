"""Libraries that people use in Lambda handlers: on AWS's client as Lambda runs it, native, and through that client.

`make compare-lambda` writes the table of docs/handlers.md anew.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Session, TaskFailed
from tests.aws.emulators import Account
from tests.e2e.support import eventually
from tests.runtimes.both import KINDS, Both, both_kinds
from tests.runtimes.reference import Told, reference
from tests.runtimes.tables import check, lines_of

FOLDER = Path(__file__).parent / "functions" / "libraries"
VENV = Path(__file__).parents[2] / ".venv-lambda"  # `make .venv-lambda/ready` fills it
PYTHON = VENV / "bin" / "python"
(PACKAGES,) = VENV.glob("lib/python3.*/site-packages") if VENV.exists() else (VENV,)
RESOURCE = re.compile(r"arn:aws:lambda:[a-z0-9-]+:\d{12}:function:\w+")
REQUEST = {
    "version": "2.0", "rawPath": "/prices/rates", "rawQueryString": "", "headers": {"host": "grid"},
    "requestContext": {"stage": "$default", "http": {"method": "GET", "path": "/prices/rates", "sourceIp": "::1"}},
    "isBase64Encoded": False,
}  # fmt: skip
MESSAGES: dict[str, Any] = {
    "Records": [
        {"messageId": name, "body": name, "eventSource": "aws:sqs", "attributes": {}} for name in ("good", "bad")
    ]
}

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="`make .venv-lambda/ready` installs the libraries")


@dataclass(frozen=True)
class Daemon:
    """What X-Ray's daemon would be sent."""

    socket: socket.socket
    documents: list[dict[str, Any]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """For X-Ray's SDK."""
        host, port = self.socket.getsockname()
        return f"{host}:{port}"

    def has(self, root: str, name: str) -> bool:
        """Whether a subsegment of a trace has arrived."""
        while True:
            try:
                self.documents.append(json.loads(self.socket.recv(1 << 16).splitlines()[-1]))
            except BlockingIOError:
                return any((each["trace_id"], each["name"]) == (root, name) for each in self.documents)


def printed(told: Told) -> list[dict[str, Any]]:
    """The lines of JSON that a task has printed."""
    return [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]


def logs_the_context(told: list[Told], name: str, daemon: Daemon) -> None:
    event, line = printed(told[0])
    assert line["message"] == "priced"
    assert (line["function_name"], line["function_memory_size"], line["price"]) == (name, "512", 7)
    assert RESOURCE.match(line["function_arn"])
    assert line["function_request_id"]
    assert line["correlation_id"] == 7
    assert line["xray_trace_id"].startswith("1-4bf92f35-")
    assert event["message"]["feature"] == "logger"


def sends_subsegments(subsegment: str, told: list[Told], name: str, daemon: Daemon) -> None:
    assert told[0].value["subsegment"] == subsegment
    root = re.search(r"Root=([^;]+)", told[0].value["trace"])
    assert root is not None
    eventually(lambda: daemon.has(root[1], subsegment), f"{subsegment} of {root[1]} arrives")


def prints_metrics(told: list[Told], name: str, daemon: Daemon) -> None:
    lines = printed(told[0])
    assert any(line.get("Priced") == [1.0] for line in lines)
    assert any(line.get("function_name") == name and line.get("ColdStart") == [1.0] for line in lines)


def answers_requests(told: list[Told], name: str, daemon: Daemon) -> None:
    assert told[0].value["statusCode"] == 200
    assert json.loads(told[0].value["body"]) == {"desk": "rates", "function": name}


def tells_failed_messages(told: list[Told], name: str, daemon: Daemon) -> None:
    assert told[0].value == {"batchItemFailures": [{"itemIdentifier": "bad"}]}


def validates(told: list[Told], name: str, daemon: Daemon) -> None:
    assert told[0].value == 7
    assert told[1].value[0] == "SchemaValidationError"


def runs_once(told: list[Told], name: str, daemon: Daemon) -> None:
    assert told[0].value["by"] == name
    assert told[1].value == told[0].value
    assert told[2].value != told[0].value


def traces_invocations(told: list[Told], name: str, daemon: Daemon) -> None:
    (span,) = told[1].value["spans"]
    assert (span["name"], span["invocation"]) == (name, told[0].value["who"])
    assert RESOURCE.fullmatch(span["resource"])
    root = re.search(r"Root=1-(\w{8})-(\w{24})", told[0].value["trace"])
    assert root is not None
    assert span["trace_id"] == root[1] + root[2]


def captures_exceptions(told: list[Told], name: str, daemon: Daemon) -> None:
    assert told[0].value[0] == "ValueError"
    assert told[1].value == [["ValueError", name]]


def serves_asgi(told: list[Told], name: str, daemon: Daemon) -> None:
    body = json.loads(told[0].value["body"])
    assert body["path"] == "/prices/rates"
    assert body["who"]


@dataclass(frozen=True)
class Feature:
    """A row of the table: what a library does with these events, and how that is seen."""

    library: str
    name: str
    module: str
    events: tuple[dict[str, Any], ...]
    look: Callable[[list[Told], str, Daemon], None]


LAMBDA = "lambda"
POWERTOOLS, XRAY = "aws-lambda-powertools", "aws-xray-sdk"
FEATURES = [
    Feature(
        POWERTOOLS, "`@logger.inject_lambda_context`", "powertools", ({"feature": "logger", "trade": 7},),
        logs_the_context,
    ),
    Feature(
        POWERTOOLS, "`@tracer.capture_lambda_handler`, subsegments", "powertools", ({"feature": "tracer"},),
        partial(sends_subsegments, "## price"),
    ),
    Feature(
        POWERTOOLS, "`@metrics.log_metrics`, cold starts", "powertools_cold", ({"feature": "metrics"},), prints_metrics
    ),
    Feature(
        POWERTOOLS, "`APIGatewayHttpResolver`", "powertools", ({"feature": "http", "request": REQUEST},),
        answers_requests,
    ),
    Feature(
        POWERTOOLS, "`process_partial_response`", "powertools", ({"feature": "batch", "request": MESSAGES},),
        tells_failed_messages,
    ),
    Feature(
        POWERTOOLS, "`@validator`", "powertools",
        ({"feature": "validation", "trade": 7}, {"feature": "validation", "trade": "x"}), validates,
    ),
    Feature(POWERTOOLS, "`@idempotent`", "idempotent", ({"trade": 1}, {"trade": 1}, {"trade": 2}), runs_once),
    Feature(XRAY, "`in_subsegment()`", "xray", ({},), partial(sends_subsegments, "price")),
    Feature(
        "opentelemetry-instrumentation-aws-lambda", "a span for each invocation, in its trace", "otel", ({}, {}),
        traces_invocations,
    ),
    Feature(
        "sentry-sdk", "`AwsLambdaIntegration`", "sentry", ({"feature": "raise"}, {"feature": "told"}),
        captures_exceptions,
    ),
    Feature("mangum", "`Mangum(app)`", "web", (REQUEST,), serves_asgi),
]  # fmt: skip
MODULES = {feature.module for feature in FEATURES}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        yield Daemon(listening)


@pytest.fixture(scope="module")
def variables(ministack_url: str, daemon: Daemon) -> dict[str, dict[str, str]]:
    """Of all these functions, in each place: a table for what ran once, and where X-Ray's daemon is."""
    account = Account(ministack_url)
    found = {}
    for place in (LAMBDA, *KINDS):
        account.dynamodb().create_table(
            TableName=f"once-{place}",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        found[place] = {**account.environment, "TABLE": f"once-{place}", "AWS_XRAY_DAEMON_ADDRESS": daemon.address}
    return found


@pytest.fixture(scope="module")
def grids(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, dict[str, str]]) -> Iterator[Both]:
    """Both kinds of worker, one of each, with a function for each library."""
    with both_kinds(tmp_path_factory.mktemp("libraries"), slots=1) as both:
        for module in MODULES:
            deploy(both, variables, module, module)
        yield both


def deploy(both: Both, variables: dict[str, dict[str, str]], name: str, module: str) -> None:
    for kind, grid in both.grids.items():
        own = {**variables[kind], "PYTHONPATH": str(PACKAGES)}
        grid.deploy(name, FOLDER, handler=handler_of(module), timeout=30, memory_mb=512, environment=own)


def version_of(library: str) -> str:
    """The version that is installed beside the tests."""
    return next(iter(metadata.Distribution.discover(name=library, path=[str(PACKAGES)]))).version


def handler_of(module: str) -> str:
    return f"{module.removesuffix('_cold')}.handler"


def told_by(session: Session) -> list[Told]:
    values = session.results(errors="return")
    return [
        Told(True, [value.error.type, value.error.message], task.stdout)
        if isinstance(value, TaskFailed) and value.error
        else Told(False, value, task.stdout)
        for value, task in zip(values, session.tasks(), strict=True)
    ]


def cell(feature: Feature, told: list[Told], daemon: Daemon) -> str:
    """What is seen: ``yes``, that it is refused and what to do, or what is there instead."""
    if told[0].failed and told[0].value[0] == "InitError" and "runtime_client=True" in told[0].value[1]:
        return "refused: `runtime_client=True`"
    try:
        feature.look(told, feature.module, daemon)
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        return f"no: {told} ({error!r})"
    return "yes"


def test_libraries_do_in_native_workers_what_they_do_on_lambda(
    grids: Both, variables: dict[str, dict[str, str]], daemon: Daemon
) -> None:
    rows = []
    with ExitStack() as stack:
        clients = {
            module: stack.enter_context(reference(PYTHON, FOLDER, handler_of(module), module, variables[LAMBDA]))
            for module in MODULES
        }
        for feature in FEATURES:
            sessions = grids.sessions(feature.module, *feature.events, bundle_size=len(feature.events))
            on_lambda = cell(feature, clients[feature.module].invoke(feature.events), daemon)
            native, client = (cell(feature, told_by(sessions[kind]), daemon) for kind in ("native", "awslambdaric"))
            assert (on_lambda, client) == ("yes", "yes"), feature.name
            assert native == "yes" or native.startswith("refused: "), f"{feature.name}: {native}"
            rows.append((f"{feature.library} {version_of(feature.library)}", feature.name, on_lambda, native, client))
    head = (
        "library",
        "feature",
        f"Lambda's client, awslambdaric {version_of('awslambdaric')}",
        "native",
        "through the client",
    )
    check("libraries", lines_of(head, rows))


def test_two_functions_that_share_a_table_of_what_ran_once(grids: Both, variables: dict[str, dict[str, str]]) -> None:
    """Both are ``idempotent.handler``: what tells them apart is the function's name, which is in the environment."""
    for name in ("pricing", "risk"):
        deploy(grids, variables, name, "idempotent")
    for name in ("pricing", "risk", "pricing"):
        for results in grids.results(name, {"trade": 7}).values():
            assert [each["by"] for each in results] == [name]
