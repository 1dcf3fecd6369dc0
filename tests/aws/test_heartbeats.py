"""Heartbeats to a state of Step Functions that counts them: on moto, since ministack does not count."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Session, StepFunctionsTask
from htcgrid_core.adapters.aws.messenger import AwsMessenger
from htcgrid_core.domain.notification import HEARTBEAT_SECONDS
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import telling
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.testing.contracts.facts import eventually
from tests.aws.emulators import Account
from tests.aws.grids import clients_of
from tests.manual_agent import finish
from tests.planes import ManualClock, memory_plane, still_grid

MINUTE_SECONDS = 0.5  # that a heartbeat's minute takes in this test
PATIENCE_SECONDS = 4  # the state's HeartbeatSeconds: a busy machine may be late
STATE = {
    "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": True,
    "HeartbeatSeconds": PATIENCE_SECONDS, "TimeoutSeconds": 600,
}  # fmt: skip


class States:
    """Executions of a state that waits, whose tokens come by a queue."""

    def __init__(self, account: Account) -> None:
        body = json.dumps({"stepfunctions": {"execute_state_machine": True}}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{account.url}/moto-api/config", body), timeout=10).close()
        self._sqs, self._client = account.sqs(), account.client("stepfunctions")
        self._queue = self._sqs.create_queue(QueueName="asks")["QueueUrl"]
        ask = {"QueueUrl": self._queue, "MessageBody": {"token.$": "$$.Task.Token"}}
        definition = {"StartAt": "Fan", "States": {"Fan": {**STATE, "Parameters": ask}}}
        self._machine = self._client.create_state_machine(
            name="night", definition=json.dumps(definition), roleArn="arn:aws:iam::123456789012:role/any"
        )["stateMachineArn"]

    def start(self, name: str) -> tuple[str, str]:
        """An execution and its task's token."""
        execution = self._client.start_execution(stateMachineArn=self._machine, name=name, input="{}")["executionArn"]
        (message,) = eventually(
            lambda: self._sqs.receive_message(QueueUrl=self._queue).get("Messages", []), lambda found: bool(found)
        )
        self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return execution, json.loads(message["Body"])["token"]

    def status(self, execution: str) -> str:
        """How far it is."""
        return str(self._client.describe_execution(executionArn=execution)["status"])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def plane(moto_account: Account, tmp_path: Path, clock: ManualClock) -> Plane:
    return replace(memory_plane(tmp_path, clock=clock), messenger=AwsMessenger(clients_of(moto_account)))


def _submit(plane: Plane, token: str) -> Session:
    return still_grid(plane).submit("math.sqrt", [1, 4], notify=StepFunctionsTask(token))


def test_a_state_lives_by_its_heartbeats(moto_account: Account, plane: Plane, clock: ManualClock) -> None:
    """Beside one whose session nobody looks after any more: it times out, and the other goes on."""
    states = States(moto_account)
    (kept, token), (lost, _) = states.start("kept"), states.start("lost")
    session = _submit(plane, token)

    def minute() -> None:
        clock.pass_(HEARTBEAT_SECONDS)
        reconcile(plane, 10.0)
        telling.tell_all(plane)
        time.sleep(MINUTE_SECONDS)

    _until(minute, lambda: states.status(lost) != "RUNNING")
    assert states.status(lost) in ("FAILED", "TIMED_OUT")
    for _ in range(2):
        minute()
    assert states.status(kept) == "RUNNING"
    finish(plane, lambda event: event)
    telling.tell_all(plane)
    assert [str(row.state) for row in session.notifications()] == ["DELIVERED"]
    assert eventually(lambda: states.status(kept), lambda status: status != "RUNNING") == "SUCCEEDED"


def test_a_state_that_timed_out_cancels_its_session(moto_account: Account, plane: Plane, clock: ManualClock) -> None:
    """Its heartbeats came too late: a grid that was down for a while."""
    states = States(moto_account)
    execution, token = states.start("late")
    session = _submit(plane, token)
    eventually(lambda: states.status(execution), lambda status: status != "RUNNING")
    clock.pass_(HEARTBEAT_SECONDS)
    telling.tell_all(plane)
    reconcile(plane, 10.0)
    assert session.progress().state == "CANCELLED"
    (row,) = session.notifications()
    assert row.state == "REFUSED"
    assert token not in str(row)


def _until(step: Callable[[], Any], is_over: Callable[[], bool], steps: int = 60) -> None:
    for _ in range(steps):
        if is_over():
            return
        step()
    raise AssertionError(f"not over after {steps} steps")
