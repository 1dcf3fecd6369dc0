"""Infrastructure and code fit: the grid works on exactly what Terraform makes, with exactly what its policies allow.

What an applied plan has is made on an emulator, through AWS's API and from nothing else. Agents, submitters and
operators then work there as processes of their own, each of whose calls is written down. Every call must be allowed to
its component, on its resource, by the policy that Terraform rendered; nothing may be allowed that none of them used.
"""

from __future__ import annotations

import json
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import connect
from htcgrid_core.adapters.aws.dynamodb import schema
from htcgrid_core.adapters.aws.dynamodb.audit_log import PREFIX
from htcgrid_core.adapters.aws.parameter import GridParameter
from htcgrid_core.adapters.aws.resources import names
from htcgrid_core.adapters.aws.sqs import messages
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.ports.bundle_queue import Hint
from tests.aws.emulators import REGION, Account
from tests.aws.grids import CloudUnderTest
from tests.aws.step_functions import step_functions
from tests.e2e.support import eventually
from tests.infra import calls, emulated, iam
from tests.infra.submitting import POOLS, PRIORITIES
from tests.infra.terraform import KEY, Resource

ACCOUNT = "123456789012"  # in whose name the stand-in makes ARNs
RECORDER = Path(__file__).parent / "recorder"
COMPONENTS = ("agent", "operator", "submitter")
# What no day needs: a commit with more children than a transaction takes reads its bundle before it writes them.
RARE = {
    ("agent", "dynamodb:GetItem"),
    # Of a large upload that failed.
    ("agent", "s3:AbortMultipartUpload"),
    ("submitter", "s3:AbortMultipartUpload"),
    # The doctor compares it with what a cluster's pods ask for; no emulator has the service, and tests/fleet plays it.
    ("operator", "servicequotas:GetServiceQuota"),
}
# Of a session that had ended when it was asked to tell, whoever submits it again tells, unless an agent comes by first.
TELLING = {
    "events:PutEvents", "sns:Publish", "sqs:GetQueueUrl", "sqs:SendMessage", "states:SendTaskFailure",
    "states:SendTaskSuccess",
}  # fmt: skip


def of_type(resources: list[Resource], kind: str) -> list[Resource]:
    """Those of one type."""
    return [each for each in resources if each.type == kind]


@dataclass
class Recording:
    """What every component called, and the grid on which it did."""

    grid: CloudUnderTest
    file: Path

    def needs(self, key_arn: str) -> dict[str, set[calls.Need]]:
        """By component."""
        account = calls.Account(ACCOUNT, "eu-west-1", key_arn)
        found: dict[str, set[calls.Need]] = {component: set() for component in COMPONENTS}
        for call in calls.recorded(self.file):
            found[call.component].update(calls.needs(call, account))
        return found


@pytest.fixture(scope="module")
def recording(
    complete: list[Resource], ministack_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recording]:
    """A day in the life of a grid that Terraform made, in a minute."""
    folder = tmp_path_factory.mktemp("contract")
    account = Account(ministack_url, ACCOUNT)
    assert emulated.make(account, complete) == set(emulated.MAKERS)
    grid = CloudUnderTest(account, folder)
    grid.url = f"aws://book?region={REGION}"  # its variables say where AWS is
    file = folder / "calls.jsonl"
    path = f"{grid.environment['PYTHONPATH']}:{RECORDER}"
    with pytest.MonkeyPatch.context() as patch, step_functions() as stub:
        stub.accepts_all = True
        grid.environment |= {"PYTHONPATH": path, "HTCGRID_TEST_CALLS": str(file), "AWS_ENDPOINT_URL_SFN": stub.url}
        for name, value in account.environment.items():
            patch.setenv(name, value)
        account.sqs().create_queue(QueueName="night")  # somebody else's, who is told
        try:
            _live(grid, file, _destinations(complete))
            yield Recording(grid, file)
        finally:
            grid.end()


def _destinations(resources: list[Resource]) -> dict[str, str]:
    """ARNs of what sessions' ends are told, by the names of ``submitting``."""
    kinds = {"topic": "aws_sns_topic", "bus": "aws_cloudwatch_event_bus"}
    found = {
        name: next(
            each.values["arn"] for each in of_type(resources, kind) if not each.values["name"].endswith("alarms")
        )
        for name, kind in kinds.items()
    }
    return {**found, "queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:night"}


def _live(grid: CloudUnderTest, file: Path, destinations: dict[str, str]) -> None:
    """Every component does all that it can do."""
    agent, operator = ({"HTCGRID_TEST_COMPONENT": component} for component in ("agent", "operator"))
    for name, arn in {**destinations, "gone": destinations["queue"]}.items():
        assert grid.run("destinations", "add", name, arn, **operator).returncode == 0
    assert grid.run("destinations", "remove", "gone", **operator).returncode == 0
    _dead_letters(grid)
    examined = grid.run("doctor", **operator)
    assert examined.returncode == 0, examined.stdout
    assert grid.run("dlq", "list", **operator).returncode == 0
    assert grid.run("load", **operator).returncode == 0
    assert grid.run("audit", **operator).returncode == 0
    assert grid.run("costs", **operator).returncode == 0
    left = len(POOLS) * len(PRIORITIES)

    def redriven() -> bool:
        nonlocal left
        left -= json.loads(grid.run("dlq", "redrive", "--json", **operator).stdout)["redriven"]
        return bool(left == 0)

    eventually(redriven, "all letters are sent again")
    options = ("--health", "0")
    agents = [grid.start_agent("--pool", pool, *options, slots=2, **agent) for pool in ("default", *POOLS)]
    grid.call("tests.infra.submitting", HTCGRID_TEST_COMPONENT="submitter")
    _early_messages(grid, file)
    kept = map(json.loads, grid.run("data", "ls", "--json", **operator).stdout.splitlines())
    largest, other = islice((each["session"] for each in kept if each["ended_at"] is not None), 2)
    assert grid.run("data", "hold", other, "--reason", "a question", **operator).returncode == 0
    assert grid.run("data", "release", other, **operator).returncode == 0
    assert grid.run("data", "rm", largest, "--yes", **operator).returncode == 0
    _dead_letters(grid)
    assert grid.run("reconcile", **agent).returncode == 0
    for process in agents:
        process.send_signal(signal.SIGTERM)
    for process in agents:
        assert process.wait(timeout=60) == 0, grid.logs()
    expired, unused = map(int, grid.call("tests.infra.reconciling", **agent).split())
    assert expired > 0
    assert unused > 0


def _early_messages(grid: CloudUnderTest, file: Path) -> None:
    """One in each queue that comes long before its time, as after a retry's delay, so that its agent hides it."""
    cloud = open_cloud(parse_aws(grid.url))
    urls = {getattr(cloud.parameter.queues[pool], priority) for pool in POOLS for priority in PRIORITIES}
    sqs, due = grid.account.sqs(), cloud.plane.clock.now() + 3600.0
    for pool in POOLS:
        queues = cloud.parameter.queues[pool]
        for priority in PRIORITIES:
            hint = Hint("s-early", "00000000", not_before=due, priority=priority)
            sqs.send_message(QueueUrl=getattr(queues, priority), MessageBody=messages.write(hint))
        sqs.send_message(QueueUrl=queues.normal, MessageBody=messages.BELL)
    cloud.close()

    def hidden() -> bool:
        made = calls.recorded(file)
        return {call.named["QueueUrl"] for call in made if call.operation.startswith("ChangeMessageVisibility")} >= urls

    eventually(hidden, "an early message of each queue is hidden")


def _dead_letters(grid: CloudUnderTest) -> None:
    """One of each queue, as if a session's bundle had been received again and again, and one that is nobody's."""
    cloud = open_cloud(parse_aws(grid.url))
    queues = cloud.parameter.queues
    cloud.close()
    with connect(grid.url) as client:
        for pool in POOLS:
            for priority in PRIORITIES:
                session = client.submit("tests.e2e.handlers.double", range(2), pool=pool, priority=priority)
                url = getattr(queues[pool], priority)
                grid.account.sqs().purge_queue(QueueUrl=url)
                letter = messages.write(Hint(session.id, "00000000", priority=priority))
                grid.account.sqs().send_message(QueueUrl=queues[pool].dead, MessageBody=letter)
            grid.account.sqs().send_message(QueueUrl=queues[pool].dead, MessageBody="nobody's")


def test_what_it_makes_is_what_the_code_asks_for(complete: list[Resource]) -> None:
    (table,) = of_type(complete, "aws_dynamodb_table")
    wanted: dict[str, Any] = {**schema.create_table(table.values["name"])}
    made = emulated.table_request(table.values)
    for request in (wanted, made):
        for name in ("AttributeDefinitions", "GlobalSecondaryIndexes"):
            request[name] = sorted(request[name], key=str)
    assert made == wanted
    ((ttl,),) = (each.values["ttl"] for each in [table])
    assert (ttl["enabled"], ttl["attribute_name"]) == (True, schema.TTL)


def test_the_parameter_is_what_the_code_reads(complete: list[Resource]) -> None:
    """And every name in it is as bootstrap gives it."""
    (text,) = (
        each.values["value"] for each in of_type(complete, "aws_ssm_parameter") if each.values["type"] == "String"
    )
    parameter = GridParameter.model_validate_json(text)
    assert set(json.loads(text)) == set(GridParameter.model_fields)
    assert set(json.loads(text)["defaults"]) == set(type(parameter.defaults).model_fields)
    assert parameter.table == names.table("book")
    assert parameter.bucket == names.bucket("book", ACCOUNT, "eu-west-1")
    urls = {
        each.values["name"]: each.values["id"]
        for each in of_type(complete, "aws_sqs_queue")
        if not each.values["name"].startswith("htcgrid_book_submit")  # the functions' own
    }
    assert {
        names.queue("book", pool, priority): getattr(queues, priority)
        for pool, queues in parameter.queues.items()
        for priority in names.PRIORITIES
    } == urls
    (secret,) = (each for each in of_type(complete, "aws_ssm_parameter") if each.values["type"] == "SecureString")
    assert secret.values["name"] == parameter.key
    assert KEY not in repr(complete), "the secret is in no state"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("component", COMPONENTS)
def test_every_call_is_allowed(recording: Recording, complete: list[Resource], component: str) -> None:
    key = of_type(complete, "aws_kms_key")[0].values["arn"]
    allowed = list(iam.grants(emulated.policy_of(complete, component)))
    needed = recording.needs(key)[component]
    assert needed
    assert [need for need in sorted(needed) if not any(grant.covers(need) for grant in allowed)] == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_audit_is_added_to_and_never_changed(
    recording: Recording, complete: list[Resource], component: str
) -> None:
    """Everybody puts entries; to change or delete one is denied, and nobody tried."""
    (table,) = of_type(complete, "aws_dynamodb_table")
    denied = set(iam.denials(emulated.policy_of(complete, component)))
    keys = (("ForAnyValue:StringLike", "dynamodb:LeadingKeys", (f"{PREFIX}*",)),)
    assert denied == {
        iam.Grant(f"dynamodb:{action}", table.values["arn"], keys)
        for action in ("BatchWriteItem", "DeleteItem", "UpdateItem")
    }
    made = [call for call in calls.recorded(recording.file) if call.component == component and "Audit" in call.named]
    assert made
    assert {kind for call in made for kind in call.named["Audit"]} == {"Put"}
    assert not [call for call in made if call.operation == "BatchWriteItem"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_nothing_is_allowed_that_is_not_used(recording: Recording, complete: list[Resource], component: str) -> None:
    key = of_type(complete, "aws_kms_key")[0].values["arn"]
    needs = recording.needs(key)
    needed = needs[component]
    if component == "submitter":
        needed |= {need for need in needs["agent"] if need.action in TELLING}
    allowed = iam.grants(emulated.policy_of(complete, component))
    unused = {
        f"{grant.action} on {grant.resource}"
        for grant in allowed
        if (component, grant.action) not in RARE and not any(map(grant.covers, needed))
    }
    assert not unused, sorted(unused)


def test_what_a_start_asks_of_ssm_and_sts(recording: Recording) -> None:
    """For docs/deploy.md and test_starting.py: all that thousands of agents share the rates of."""
    made = [call for call in calls.recorded(recording.file) if call.component == "agent"]
    assert {call.service for call in made} & {"ssm", "sts"} == {"ssm"}
    asked: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for call in made:
        if call.service == "ssm":
            asked[call.process][f"{call.operation} {call.named.get('Name') or call.named['Path']}"] += 1
    for parameters in asked.values():
        assert len(parameters) == calls.SSM_CALLS_OF_A_START
        # One is read again: of a pool's agents, whoever does the tick looks how many of them there may be.
        assert sorted(parameters.values())[: calls.SSM_CALLS_OF_A_START - 1] == [1] * (calls.SSM_CALLS_OF_A_START - 1)


def test_the_count(recording: Recording, complete: list[Resource], capsys: pytest.CaptureFixture[str]) -> None:
    made = calls.recorded(recording.file)
    grants = sum(len(list(iam.grants(emulated.policy_of(complete, component)))) for component in COMPONENTS)
    with capsys.disabled():
        print(f"\n{len(made):,} calls of AWS recorded, {grants} grants of {len(COMPONENTS)} policies proven")
    assert {call.component for call in made} == set(COMPONENTS)
