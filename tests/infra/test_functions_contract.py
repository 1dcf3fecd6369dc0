"""Functions and their infrastructure fit: each call of a function is allowed by the policy that Terraform rendered.

What examples/lambda_only has is made on an emulator. Each function lives there as a process of its own with the handler
and the environment that Terraform gives it; what AWS's mappings and logs do in a function's name is added.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Session, connect
from htcgrid_core.adapters.aws.sqs import messages
from htcgrid_core.ports.bundle_queue import Hint
from tests.api_gateway import event_of as event_of_request
from tests.aws.emulators import REGION, REPOSITORY, Account
from tests.aws.function_agents import event_of
from tests.aws.grids import CloudUnderTest
from tests.aws.step_functions import step_functions
from tests.e2e.support import eventually
from tests.infra import calls, emulated, iam
from tests.infra.submitting import PRIORITIES
from tests.infra.terraform import Resource
from tests.infra.test_contract import ACCOUNT, RECORDER, of_type

HANDLERS = "tests.e2e.handlers"
GUARD_SECONDS = 300.0
GIVEN = ("PATH", "AWS_ENDPOINT_URL_SFN", "HTCGRID_CACHE", "HTCGRID_TEST_CALLS")  # by this test, and not by Terraform
FUNCTIONS = (
    "agent-default", "cancel-tasks", "get-results", "rest-api", "scaling-metrics", "submit-tasks", "ttl-checker",
)  # fmt: skip
DESK = f"arn:aws:sts::{ACCOUNT}:assumed-role/desk/ann"
# What a function may do and a day like this one need not ask of it: what it does about trouble, or only if nobody else
# was quicker. Tests beside the functions hold their pages to what they call.
SELDOM = {
    "agent-default": {
        "dynamodb:GetItem", "s3:AbortMultipartUpload", "s3:ListBucket", "sqs:ChangeMessageVisibility",
        "sqs:SendMessage", "states:SendTaskFailure", "states:SendTaskSuccess",
    },
    "cancel-tasks": {"dynamodb:PutItem"},
    "get-results": {"dynamodb:PutItem", "s3:ListBucket"},
    "rest-api": {
        "dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:Query", "dynamodb:UpdateItem",
        "events:PutEvents", "s3:AbortMultipartUpload", "s3:GetObject", "sns:Publish", "sqs:SendMessage",
        "states:SendTaskFailure", "states:SendTaskHeartbeat", "states:SendTaskSuccess",
    },
    "submit-tasks": {
        "dynamodb:Query", "dynamodb:UpdateItem", "events:PutEvents", "s3:AbortMultipartUpload", "s3:GetObject",
        "s3:ListBucket", "sns:Publish", "sqs:GetQueueAttributes", "states:SendTaskFailure",
        "states:SendTaskSuccess",
    },
    "ttl-checker": {
        "dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:Query", "s3:AbortMultipartUpload",
        "s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject", "sqs:GetQueueAttributes",
        "states:SendTaskFailure", "states:SendTaskHeartbeat", "states:SendTaskSuccess",
    },
}  # fmt: skip


@dataclass
class Sandbox:
    """A function as its process."""

    process: subprocess.Popen[str]

    def __call__(self, event: Any) -> Any:
        """What it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(event) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "it died: see its log"
        return json.loads(answer)


@dataclass
class Recorded:
    """What functions called, with what AWS calls for them."""

    resources: list[Resource]
    file: Path
    needed: dict[str, set[calls.Need]] = field(default_factory=dict)

    def read(self) -> None:
        (key,) = of_type(self.resources, "aws_kms_key")
        account = calls.Account(ACCOUNT, REGION, key.values["arn"])
        for call in calls.recorded(self.file):
            self.needed.setdefault(call.component, set()).update(calls.needs(call, account))
        functions = {each.values["arn"]: name_of(each) for each in of_type(self.resources, "aws_lambda_function")}
        for each in of_type(self.resources, "aws_lambda_event_source_mapping"):
            arn, needed = each.values["event_source_arn"], self.needed[functions[each.values["function_name"]]]
            needed |= {calls.Need(f"sqs:{verb}", arn) for verb in ("ReceiveMessage", "DeleteMessage")}
            needed |= {calls.Need("sqs:GetQueueAttributes", arn)}
        for each in of_type(self.resources, "aws_lambda_function_event_invoke_config"):
            name = str(each.values["function_name"]).removeprefix("htcgrid-lone-")
            kept = [on["destination"] for told in each.values["destination_config"] for on in told["on_failure"]]
            self.needed.setdefault(name, set()).update(calls.Need("sqs:SendMessage", arn) for arn in kept)
        for name in self.needed:
            group = account.arn("logs", f"log-group:/htcgrid/lone/function/{name}:*")
            self.needed[name] |= {calls.Need(f"logs:{verb}", group) for verb in ("CreateLogStream", "PutLogEvents")}


def name_of(function: Resource) -> str:
    return str(function.values["function_name"]).removeprefix("htcgrid-lone-")


@contextmanager
def sandbox(function: Resource, grid: CloudUnderTest) -> Iterator[Sandbox]:
    """It finds what Terraform says, and where AWS is, and nothing else."""
    values = function.values
    (environment,) = values["environment"]
    given = {
        **{name: grid.environment[name] for name in GIVEN},
        **grid.account.environment,
        "PYTHONPATH": f"{REPOSITORY}:{RECORDER}",
        "HTCGRID_TEST_COMPONENT": name_of(function),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(values["memory_size"]),
        **environment["variables"],
    }
    command = [sys.executable, "-m", "tests.infra.invoking", values["handler"], str(values["timeout"])]
    with subprocess.Popen(
        command, env=given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield Sandbox(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def recorded(
    lambda_only: list[Resource], ministack_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recorded]:
    """A day without a cluster."""
    folder = tmp_path_factory.mktemp("functions")
    account = Account(ministack_url, ACCOUNT)
    assert emulated.make(account, lambda_only) == set(emulated.MAKERS)
    grid = CloudUnderTest(account, folder)
    grid.url = f"aws://lone?region={REGION}"
    with pytest.MonkeyPatch.context() as patch, step_functions() as stub, ExitStack() as stack:
        stub.accepts_all = True
        file = folder / "calls.jsonl"
        grid.environment |= {"AWS_ENDPOINT_URL_SFN": stub.url, "HTCGRID_TEST_CALLS": str(file)}
        for name, value in account.environment.items():
            patch.setenv(name, value)
        functions = {name_of(each): each for each in of_type(lambda_only, "aws_lambda_function")}
        assert set(functions) == {*FUNCTIONS, "submit-on-event"}
        for kind, called in (("aws_sns_topic", "topic"), ("aws_cloudwatch_event_bus", "bus")):
            arn = next(each.values["arn"] for each in of_type(lambda_only, kind) if "alarms" not in each.values["name"])
            assert grid.run("destinations", "add", called, arn).returncode == 0
        live = {name: stack.enter_context(sandbox(functions[name], grid)) for name in FUNCTIONS}
        _live(grid, live, _queues(lambda_only))
        found = Recorded(lambda_only, file)
        found.read()
        yield found


def _queues(resources: list[Resource]) -> dict[str, str]:
    """URLs by priority, on the emulator."""
    urls = {
        str(each.values["name"]).rpartition("_")[2]: each.values["id"] for each in of_type(resources, "aws_sqs_queue")
    }
    return {priority: urls[priority] for priority in (*PRIORITIES, "dead")}


def _live(grid: CloudUnderTest, live: dict[str, Sandbox], queues: dict[str, str]) -> None:
    with connect(grid.url) as client:
        notify = ["topic", "bus"]
        large = ["x" * 9000 + str(number) for number in range(12)]
        submitted = [
            live["submit-tasks"](event)["session"]
            for event in (
                {"function": f"{HANDLERS}.double", "events": [1, 2], "notify": notify, "task_token": "well"},
                {"function": f"{HANDLERS}.fail_odd", "events": [1], "notify": notify, "task_token": "badly"},
                *({"function": f"{HANDLERS}.echo", "events": large, "priority": each} for each in PRIORITIES),
            )
        ]
        doomed = live["submit-tasks"]({"function": f"{HANDLERS}.double", "events": [1], "task_token": "doomed"})
        submitted += _over_http(live["rest-api"])
        live["scaling-metrics"]({})
        live["cancel-tasks"]({"session": doomed["session"]})
        sessions = [client.session(one) for one in (*submitted, doomed["session"])]
        _map(grid, live, queues, sessions)
        answers = [live["get-results"]({"session": one}) for one in submitted]
        assert answers[0]["results"] == [2, 4]
        assert all(answer["results"] is not None for answer in answers)
        _asked(live["rest-api"], "GET", f"/v1/sessions/{submitted[-1]}/results")
        # Nobody comes by for these but the reconciler: a letter that is dead, and an end that is told later.
        late = live["submit-tasks"](
            {"function": f"{HANDLERS}.double", "events": [1], "timeout": 0.5, "notify": notify, "task_token": "late"}
        )
        for priority in PRIORITIES:
            body = messages.write(Hint(late["session"], "00000000", priority=priority))
            grid.account.sqs().send_message(QueueUrl=queues["dead"], MessageBody=body)
        eventually(
            lambda: bool(live["ttl-checker"]({"seconds": 0})) and client.session(late["session"]).done(), "it ends"
        )


def _asked(function: Sandbox, method: str, path: str, body: Any = None, media: str = "application/json") -> Any:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    headers = {"content-type": media, "content-length": str(len(data))}
    answer = function(event_of_request(method, path, headers, data, iam=DESK))
    assert answer["statusCode"] < 300, answer
    return json.loads(base64.b64decode(answer["body"]).splitlines()[0])


def _over_http(function: Sandbox) -> list[str]:
    """Sessions through the REST API: with their events, uploaded, and one that an upload left."""
    new = {"function": f"{HANDLERS}.double", "notify": ["topic", "bus"]}
    found = [_asked(function, "POST", "/v1/sessions", {**new, "events": [1, 2], "priority": "high"})["id"]]
    for _ in range(2):
        found.append(_asked(function, "POST", "/v1/sessions", new)["id"])
        path = f"/v1/sessions/{found[-1]}"
        _asked(function, "PUT", f"{path}/parts/0", b"1\n2\n", media="application/x-ndjson")
        _asked(function, "POST", f"{path}/seal", {"parts": 1})
    assert function({}) == {"uploads": 0, "submitted": 0}
    for path in ("/v1/grid", "/v1/load", "/v1/sessions", "/v1/ended?after=0", "/v1/functions"):
        _asked(function, "GET", path)
    return found


def _map(grid: CloudUnderTest, live: dict[str, Sandbox], queues: dict[str, str], sessions: list[Session]) -> None:
    """What AWS's mappings and its schedule do, until all is over."""
    sqs, deadline = grid.account.sqs(), time.monotonic() + GUARD_SECONDS
    while not all(session.done() for session in sessions):
        assert time.monotonic() < deadline, [session.progress() for session in sessions]
        live["ttl-checker"]({"seconds": 0})
        for priority in PRIORITIES:
            found: Any = sqs.receive_message(QueueUrl=queues[priority], WaitTimeSeconds=0)
            for message in found.get("Messages", ()):
                undone = live["agent-default"](event_of(grid.account, queues[priority], [message]))["batchItemFailures"]
                if not undone:
                    sqs.delete_message(QueueUrl=queues[priority], ReceiptHandle=message["ReceiptHandle"])


def _policy(resources: list[Resource], name: str) -> str:
    (found,) = (
        each.values["policy"]
        for each in of_type(resources, "aws_iam_role_policy")
        if each.values["role"] == f"htcgrid-lone-{name}-{REGION}"
    )
    return str(found)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_call_is_allowed(recorded: Recorded, lambda_only: list[Resource], function: str) -> None:
    allowed = list(iam.grants(_policy(lambda_only, function)))
    needed = recorded.needed[function]
    assert [need for need in sorted(needed) if not any(grant.covers(need) for grant in allowed)] == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_is_allowed_that_is_not_used(recorded: Recorded, lambda_only: list[Resource], function: str) -> None:
    """But for what trouble asks for."""
    granted = set(iam.grants(_policy(lambda_only, function)))
    unused = {grant.action for grant in granted if not any(map(grant.covers, recorded.needed[function]))}
    assert unused <= SELDOM.get(function, set())
    assert {grant.action for grant in granted} >= SELDOM.get(function, set()), "nothing is excused that is not allowed"


def test_a_page_says_which_handler(lambda_only: list[Resource]) -> None:
    """Which is there, and is what runs."""
    for each in of_type(lambda_only, "aws_lambda_function"):
        module, _, name = each.values["handler"].rpartition(".")
        assert (REPOSITORY / f"{module.replace('.', '/')}.py").read_text().count(f"\ndef {name}(") == 1
