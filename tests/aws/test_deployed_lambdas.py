"""The archive of functions in ministack's Lambda, brought to work by what brings them to work on AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from htcgrid_core import Grid, connect
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.cloud.registry import add_place, add_rule, made
from htcgrid_core.domain.place import Place
from htcgrid_core.domain.rule import Rule
from tests.aws.deployed_lambdas import Deployed, HttpApi, StateMachine, archive_in, deployed, eventual, make_bucket
from tests.aws.emulators import REGION, Account
from tests.aws.grids import CloudUnderTest, cloud

DOUBLE = "tests.e2e.handlers.double"
FAILS = "tests.e2e.handlers.fail_odd"
FUNCTIONS = (
    "rest_api",
    "submit_tasks",
    "get_results",
    "cancel_tasks",
    "ttl_checker",
    "scaling_metrics",
    "submit_on_event",
)


@pytest.fixture(scope="module")
def running(ministack_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudUnderTest]:
    """A grid with an agent."""
    folder = tmp_path_factory.mktemp("grid")
    with pytest.MonkeyPatch.context() as patch, cloud(Account(ministack_url), folder, patch, "default") as found:
        found.start_agent()
        yield found


@pytest.fixture(scope="module")
def functions(running: CloudUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    archive = archive_in(tmp_path_factory.mktemp("build"))
    with deployed(running, archive, *FUNCTIONS) as found:
        yield found


@pytest.fixture(scope="module")
def client(running: CloudUnderTest) -> Iterator[Grid]:
    with connect(running.url) as grid:
        yield grid


@pytest.fixture(scope="module")
def drops(running: CloudUnderTest) -> str:
    """A bucket with a place for results."""
    name = f"drops-{running.account.id}"
    make_bucket(running.account, name)
    registered = open_cloud(parse_aws(running.url))
    add_place(registered, Place(prefix=f"s3://{name}/out/", use="results", tenant="rates"))
    registered.close()
    return name


def rule(running: CloudUnderTest, name: str, source: str, **asked: Any) -> None:
    registered = open_cloud(parse_aws(running.url))
    add_rule(registered, made(Rule, rule=name, source=source, function=DOUBLE, **asked))
    registered.close()


def results_of(client: Grid, rule_name: str) -> list[Any]:
    """Those of the one session of a rule, once it has ended."""

    (session,) = eventual(lambda: client.sessions(labels={"rule": rule_name}), f"a session of rule {rule_name}")
    return list(session.results())


def test_each_from_the_archive(functions: Deployed, client: Grid, drops: str) -> None:
    session = functions.invoke("submit_tasks", {"function": DOUBLE, "events": [1, 2, 3]})["session"]
    client.session(session).wait(60)
    assert functions.invoke("get_results", {"session": session})["results"] == [2, 4, 6]
    functions.invoke("get_results", {"session": session, "to": f"s3://{drops}/out/values.jsonl"})
    body = functions.account.s3().get_object(Bucket=drops, Key="out/values.jsonl")["Body"].read()
    assert body == b"2\n4\n6\n"
    assert functions.invoke("cancel_tasks", {"session": session})["state"] == "COMPLETED"
    assert functions.invoke("ttl_checker", {})["sessions"]["live"] == 0
    assert functions.invoke("scaling_metrics", {}) == {"slots_wanted": {"default": 0}}
    assert "either events or events_uri" in functions.refused("submit_tasks", {"function": DOUBLE})


def test_over_http(functions: Deployed) -> None:
    """Behind an HTTP API whose routes want signed requests."""
    api = HttpApi.of(functions, {"POST /sessions": "submit_tasks", "GET /sessions/{session}/results": "get_results"})
    status, answer = api.ask("POST", "/sessions", {"function": DOUBLE, "events": [4]})
    assert status == 200, answer
    path = f"/sessions/{answer['session']}/results"

    def results() -> Any:
        return api.ask("GET", path)[1]["results"]

    assert eventual(results, "results") == [8]
    assert api.ask("POST", "/sessions", {"function": DOUBLE})[0] == 422
    assert api.ask("GET", "/sessions/rates.s-000000000000000000000000/results")[0] == 404
    unsigned = api.ask("POST", "/sessions", {"function": DOUBLE, "events": [4]}, signed=False)
    assert unsigned[0] in (403, 404), "ministack finds an account's API by the key alone"


def test_the_rest_api(functions: Deployed) -> None:
    """Every path of an HTTP API is the function's; AWS's word for who signed is whose tenant it is."""
    api = HttpApi.of(functions, {"$default": "rest_api"})
    status, session = api.ask("POST", "/v1/sessions", {"function": DOUBLE, "events": [4]})
    assert (status, session["tenant"]) == (201, "rates"), session
    assert api.ask("POST", "/v1/wait", {"sessions": [session["id"]]})[1]["done"]
    status, line = api.ask("GET", f"/v1/sessions/{session['id']}/results")
    assert (status, line["result"]) == (200, 8)
    assert api.ask("GET", "/v1/agents")[1]["code"] == "forbidden"
    assert api.ask("GET", "/v1/nothing")[1]["code"] == "not-found"
    unsigned = api.ask("GET", "/v1/grid", signed=False)
    assert unsigned[0] in (401, 403, 404), "ministack finds an account's API by the key alone"


def test_messages(functions: Deployed, client: Grid) -> None:
    """What is wrong comes to the queue of dead letters, and nothing else with it."""
    sqs = functions.account.sqs()
    dead = sqs.create_queue(QueueName="asked-dead")["QueueUrl"]
    redrive = {"deadLetterTargetArn": _arn(functions, dead), "maxReceiveCount": "1"}
    queue = sqs.create_queue(
        QueueName="asked", Attributes={"VisibilityTimeout": "8", "RedrivePolicy": json.dumps(redrive)}
    )["QueueUrl"]
    good = {"function": DOUBLE, "events": [21], "labels": {"by": "queue"}}
    for body in ("{", json.dumps(good)):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    functions.map(
        "submit_tasks", _arn(functions, queue), BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    letters = eventual(lambda: sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=1).get("Messages"), "a dead letter")
    assert [letter["Body"] for letter in letters] == ["{"]
    (session,) = eventual(lambda: client.sessions(labels={"by": "queue"}), "its session")
    assert list(session.results()) == [42]


def test_objects_and_events(functions: Deployed, running: CloudUnderTest, client: Grid, drops: str) -> None:
    account = functions.account
    rule(running, "objects", f"s3://{drops}/in/")
    rule(running, "orders", "events:orders/Order Placed", path="detail.trades")
    created = {"LambdaFunctionArn": functions.arns["submit_on_event"], "Events": ["s3:ObjectCreated:*"]}
    configuration: Any = {"LambdaFunctionConfigurations": [created]}
    account.s3().put_bucket_notification_configuration(Bucket=drops, NotificationConfiguration=configuration)
    account.s3().put_object(Bucket=drops, Key="in/book.jsonl", Body=b"1\n2\n")
    events = account.client("events")
    events.put_rule(Name="orders", EventPattern=json.dumps({"source": ["orders"]}))
    events.put_targets(Rule="orders", Targets=[{"Id": "grid", "Arn": functions.arns["submit_on_event"]}])
    detail = json.dumps({"trades": [4, 5]})
    events.put_events(Entries=[{"Source": "orders", "DetailType": "Order Placed", "Detail": detail}])
    assert results_of(client, "objects") == [2, 4]
    assert results_of(client, "orders") == [8, 10]


def test_messages_and_records_by_rules(functions: Deployed, running: CloudUnderTest, client: Grid) -> None:
    account = functions.account
    queue = account.sqs().create_queue(QueueName="told")["QueueUrl"]
    kinesis = account.client("kinesis")
    kinesis.create_stream(StreamName="ticks", ShardCount=1)
    stream = kinesis.describe_stream(StreamName="ticks")["StreamDescription"]["StreamARN"]
    rule(running, "told", _arn(functions, queue))
    rule(running, "ticks", stream)
    functions.map(
        "submit_on_event", _arn(functions, queue), BatchSize=1, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    account.sqs().send_message(QueueUrl=queue, MessageBody="[1, 2]")
    records = [{"Data": json.dumps(value).encode(), "PartitionKey": "1"} for value in (3, 4)]
    kinesis.put_records(StreamName="ticks", Records=records)
    functions.map("submit_on_event", stream, StartingPosition="TRIM_HORIZON", BisectBatchOnFunctionError=False)
    assert results_of(client, "told") == [2, 4]
    assert results_of(client, "ticks") == [6, 8]


def test_a_state_machine(functions: Deployed, drops: str) -> None:
    """That of the examples: what it prepares is priced, or caught by the names of our errors."""
    machine = StateMachine.of(functions, drops)
    done = machine.run(function=DOUBLE, trades=6)
    assert done["completed"] == 6
    body = functions.account.s3().get_object(Bucket=drops, Key=done["results"].partition(f"{drops}/")[2])["Body"]
    assert body.read() == b"2\n4\n6\n8\n10\n12\n"
    assert machine.failure(function=FAILS, trades=6, max_failures=5) == "Book.TooManyFailures"
    assert machine.failure(function=FAILS, trades=6) == "HTCGrid.SessionFailed"


def test_a_state_machine_by_a_queue(functions: Deployed, drops: str) -> None:
    """What cannot be submitted is told at once."""
    queue = functions.account.sqs().create_queue(QueueName="steps")["QueueUrl"]
    functions.map(
        "submit_tasks", _arn(functions, queue), BatchSize=1, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    machine = StateMachine.of(functions, drops, fan_out="fan_out_by_queue", queue=queue)
    assert machine.run(function=DOUBLE, trades=3)["completed"] == 3
    assert machine.failure(function="nosuch", trades=3) == "HTCGrid.SubmissionRefused"


def _arn(functions: Deployed, url: str) -> str:
    return f"arn:aws:sqs:{REGION}:{functions.account.id}:{url.rpartition('/')[2]}"
