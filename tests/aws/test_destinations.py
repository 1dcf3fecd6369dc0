"""Ends of sessions on a grid on AWS are told to its own services, by its agents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from htcgrid_core import Grid, InvalidInput, RetryPolicy, Session, StepFunctionsTask
from htcgrid_core.domain.destination import Destination
from htcgrid_core.testing.contracts.facts import eventually
from tests.aws.emulators import REGION, Account
from tests.aws.grids import CloudUnderTest
from tests.planes import gateway_of

DOUBLE = "tests.e2e.handlers.double"


def queue(account: Account, name: str) -> tuple[str, str]:
    """A queue that anybody may send to: its address and its ARN."""
    url = account.sqs().create_queue(QueueName=name)["QueueUrl"]
    return url, f"arn:aws:sqs:{REGION}:{account.id}:{name}"


def heard(account: Account, url: str, count: int) -> list[dict[str, Any]]:
    """Bodies of messages, once there are so many."""
    found: list[dict[str, Any]] = []

    def look() -> int:
        messages = account.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        found.extend(json.loads(message["Body"]) for message in messages)
        for message in messages:
            account.sqs().delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(found)

    eventually(look, lambda seen: seen >= count)
    return found


def settled(session: Session) -> list[tuple[str, str]]:
    """Who was told, once nobody is left."""
    rows = eventually(session.notifications, lambda rows: all(row.is_settled for row in rows))
    return sorted((row.to, str(row.state)) for row in rows)


def test_a_queue_a_topic_and_a_bus(aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
    account = aws_cloud.account
    (direct, direct_arn), (topic_url, topic_queue), (bus_url, bus_queue) = (
        queue(account, name) for name in ("direct", "by-topic", "by-bus")
    )
    topic = account.client("sns").create_topic(Name="ends")["TopicArn"]
    account.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=topic_queue)
    bus = account.client("events").create_event_bus(Name="grid")["EventBusArn"]
    rule = {"source": ["htcgrid"], "detail-type": ["HTCGrid Session Completed"]}
    account.client("events").put_rule(Name="ends", EventBusName="grid", EventPattern=json.dumps(rule))
    account.client("events").put_targets(Rule="ends", EventBusName="grid", Targets=[{"Id": "1", "Arn": bus_queue}])
    for name, target in (("direct", direct_arn), ("topic", topic), ("bus", bus)):
        gateway_of(aws_grid).add_destination(Destination(name=name, target=target))
    aws_cloud.start_agent()
    session = aws_grid.submit(DOUBLE, [1, 2, 3], notify=["direct", "topic", "bus"])
    session.wait(60)
    assert settled(session) == [("bus", "DELIVERED"), ("direct", "DELIVERED"), ("topic", "DELIVERED")]
    (told,) = heard(account, direct, 1)
    assert (told["subject"], told["type"]) == (session.id, "htcgrid.session.completed")
    assert (told["data"]["total"], told["data"]["completed"]) == (3, 3)
    (by_topic,) = heard(account, topic_url, 1)
    assert json.loads(by_topic["Message"])["data"] == told["data"]
    (by_bus,) = heard(account, bus_url, 1)
    assert by_bus["detail-type"] == "HTCGrid Session Completed"
    assert by_bus["detail"]["data"] == told["data"]


@pytest.mark.slow
def test_a_state_that_waits_for_a_session(aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
    """Its token comes by SQS, as with ``sqs:sendMessage.waitForTaskToken``."""
    account = aws_cloud.account
    url, _ = queue(account, "asks")
    ask = {"QueueUrl": url, "MessageBody": {"token.$": "$$.Task.Token"}}
    states = {
        "Fan": {
            "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "Parameters": ask,
            "TimeoutSeconds": 600, "Next": "Done",
            "Catch": [{"ErrorEquals": ["HTCGrid.SessionFailed"], "Next": "Report"}],
        },
        "Done": {"Type": "Pass", "End": True},
        "Report": {"Type": "Pass", "Result": "reported", "End": True},
    }  # fmt: skip
    client = account.client("stepfunctions")
    machine = client.create_state_machine(
        name="night", definition=json.dumps({"StartAt": "Fan", "States": states}),
        roleArn=f"arn:aws:iam::{account.id}:role/any",
    )["stateMachineArn"]  # fmt: skip
    aws_cloud.start_agent()
    for function in (DOUBLE, "tests.e2e.handlers.fail_odd"):
        execution = client.start_execution(stateMachineArn=machine, input="{}")["executionArn"]
        (asked,) = heard(account, url, 1)
        notify = StepFunctionsTask(asked["token"])
        session = aws_grid.submit(function, [1, 2], retry=RetryPolicy(max_attempts=1), notify=notify)
        session.wait(60)
        assert settled(session) == [("step-functions", "DELIVERED")]
        found = _ended(client, execution)
        assert found["status"] == "SUCCEEDED"
        output = json.loads(found["output"])
        assert output == "reported" if function != DOUBLE else output["completed"] == 2
        assert asked["token"] not in str(aws_cloud.run("status", session.id, "--json").stdout)


def _ended(client: Any, execution: str) -> Any:
    return eventually(lambda: client.describe_execution(executionArn=execution), lambda one: one["status"] != "RUNNING")


def test_a_destination_that_is_not_registered(aws_grid: Grid) -> None:
    with pytest.raises(InvalidInput, match="'nobody' is not registered"):
        aws_grid.submit(DOUBLE, [1], notify="nobody")
    assert aws_grid.sessions() == []
