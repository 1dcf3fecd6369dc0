"""The doctor of a grid on AWS: a healthy one passes, what is wrong is named, and what may not be read is said."""

from __future__ import annotations

import json
import time
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.adapters.aws.parameter import key_name
from htcgrid_core.cli.main import cli
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.bootstrap import bootstrap
from htcgrid_core.cloud.doctor import account as account_check
from htcgrid_core.domain import limits
from htcgrid_core.ports.session_store import AgentRecord
from tests.aws.emulators import REGION, Account
from tests.aws.grids import clients_of, settings_of, url_of
from tests.aws.scripted_proxy import Answer, ScriptedAws

CHECKS = [
    "grid", "python", "htcgrid", "account", "clock", "parameter", "key", "table", "expiry", "bucket", "bucket access",
    "bucket encryption", "bucket versioning", "bucket lifecycle", "agents", "queues", "backlog", "dead letters",
    "parameter store", "cluster",
]  # fmt: skip
EXPIRED = "Signature expired: 20261128T215200Z is now earlier than 20261128T234701Z (20261128T235201Z - 5 min.)"


@pytest.fixture
def account(aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account without grids behind the proxy."""
    found = Account(aws.url)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KUBECONFIG", "/none")
    clients = clients_of(found)
    for module in ("bootstrap", "doctor.examine"):
        monkeypatch.setattr(import_module(f"htcgrid_core.cloud.{module}"), "Clients", lambda _settings: clients)
    aws.answers = []
    return found


@pytest.fixture
def grid(account: Account) -> Any:
    """The parameter of a grid with one pool."""
    return bootstrap(Address("desk", settings_of(account)), ["default"])


def examined(account: Account, *options: str) -> tuple[int, list[dict[str, Any]]]:
    ran = CliRunner().invoke(cli, ["doctor", "--url", url_of(account, "desk"), "--json", *options])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.output
    findings = [json.loads(line) for line in ran.stdout.splitlines()]
    assert all(finding["advice"] for finding in findings if finding["verdict"] != "ok")
    return ran.exit_code, findings


def wrong(findings: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """What is not well: check, verdict and message."""
    return [(each["check"], each["verdict"], each["message"]) for each in findings if each["verdict"] != "ok"]


def assert_said(findings: list[dict[str, Any]], check: str, verdict: str, text: str) -> None:
    assert any(each[:2] == (check, verdict) and text in each[2] for each in wrong(findings)), wrong(findings)


def test_a_healthy_grid(account: Account, grid: Any) -> None:
    """It refused to look at a grid on AWS at all."""
    code, findings = examined(account)
    assert (code, wrong(findings)) == (0, [])
    assert [each["check"] for each in findings] == CHECKS
    said = {each["check"]: each["message"] for each in findings}
    assert said["account"].startswith(f"{account.id} as arn:aws:iam::{account.id}:root, region {REGION}")
    assert said["clock"].startswith("as AWS's, within ")
    assert said["key"] == f"{key_name('desk')}, 32 bytes"
    assert said["queues"].endswith("high, normal, low, dead are there; received messages hide for 30 s")
    assert said["bucket lifecycle"] == "no rule expires sessions/, functions/, packages/, shared/"
    ran = CliRunner().invoke(cli, ["doctor", "--url", url_of(account, "desk")])
    assert ran.stdout.endswith("0 problems, 0 warnings\n")


def test_everything_that_can_be_wrong_with_what_is_there(account: Account, grid: Any) -> None:
    sqs, s3, pool = account.sqs(), account.s3(), grid.queues["default"]
    other = sqs.create_queue(QueueName="other")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=other, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 100})
    sqs.set_queue_attributes(QueueUrl=pool.high, Attributes={"RedrivePolicy": policy})
    sqs.set_queue_attributes(QueueUrl=pool.normal, Attributes={"VisibilityTimeout": "5", "RedrivePolicy": ""})
    sqs.delete_queue(QueueUrl=pool.low)
    sqs.send_message(QueueUrl=pool.high, MessageBody="a hint")
    sqs.send_message(QueueUrl=pool.dead, MessageBody="a dead one")
    account.dynamodb().update_time_to_live(
        TableName=grid.table, TimeToLiveSpecification={"Enabled": False, "AttributeName": "ttl"}
    )
    s3.delete_public_access_block(Bucket=grid.bucket)
    s3.put_bucket_versioning(Bucket=grid.bucket, VersioningConfiguration={"Status": "Enabled"})
    rules: Any = [
        {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "sessions/"}, "Expiration": {"Days": 7}},
        {"ID": "b", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 365}},
        {"ID": "c", "Status": "Disabled", "Filter": {"Prefix": "shared/"}, "Expiration": {"Days": 1}},
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=grid.bucket, LifecycleConfiguration={"Rules": rules})
    account.client("ssm").put_parameter(Name=grid.key, Value="secret-7f3a", Type="SecureString", Overwrite=True)
    code, findings = examined(account)
    assert code == 1
    for check, verdict, text in (
        ("key", "problem", "/htcgrid/desk/key is not 32 bytes"),
        ("expiry", "warning", "TTL of htcgrid-desk is DISABLED"),
        ("bucket access", "warning", "is not blocked altogether"),
        ("bucket lifecycle", "problem", "begins with 'sessions/' after 7 days, also what is on legal hold"),
        ("bucket lifecycle", "problem", "begins with '' after 365 days, though it may be used"),
        ("bucket lifecycle", "warning", "keeps a version of all that is deleted"),
        ("queues", "problem", "low of pool 'default', does not exist"),
        ("queues", "problem", f"queue high of pool 'default' sends dead letters to {arn}"),
        ("queues", "warning", "queue normal of pool 'default' has no redrive policy"),
        ("queues", "warning", "queue normal of pool 'default' hides messages for 5 s"),
        ("backlog", "warning", "1 waiting, 0 with agents, 0 delayed, and no agent serves it"),
        ("dead letters", "warning", "pool default has 1"),
    ):
        assert_said(findings, check, verdict, text)
    assert len(wrong(findings)) == 12
    assert "secret-7f3a" not in json.dumps(findings)


def test_what_is_gone(account: Account, grid: Any) -> None:
    account.dynamodb().delete_table(TableName=grid.table)
    account.s3().delete_bucket(Bucket=grid.bucket)
    code, findings = examined(account)
    assert code == 1
    assert_said(findings, "table", "problem", "htcgrid-desk does not exist")
    assert_said(findings, "bucket", "problem", f"{grid.bucket} does not exist")
    assert "queues" in [each["check"] for each in findings], "one that is gone hides no other"


def test_a_table_of_another_form(account: Account, grid: Any) -> None:
    dynamodb = account.dynamodb()
    dynamodb.delete_table(TableName=grid.table)
    dynamodb.create_table(
        TableName=grid.table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    _, findings = examined(account)
    assert_said(findings, "table", "problem", "has the keys id, not pk and sk")
    for index in ("sessions-by-time", "sessions-live", "sessions-ended"):
        assert_said(findings, "table", "problem", f"lacks its index {index}")


def test_no_such_grid(account: Account) -> None:
    code, findings = examined(account)
    assert code == 1
    assert_said(findings, "parameter", "problem", "there is no grid 'desk'")
    assert findings[-1]["check"] == "parameter"


@pytest.mark.parametrize(
    ("call", "check", "verdict", "action"),
    [
        ("DescribeTable", "table", "warning", "allow dynamodb:DescribeTable on htcgrid-desk"),
        ("Query", "agents", "problem", "allow dynamodb:Query on htcgrid-desk"),
        ("GetQueueAttributes", "queues", "problem", "allow sqs:GetQueueAttributes on the queues of pool 'default'"),
        ("GetParameter", "parameter", "problem", "allow ssm:GetParameter on parameter/htcgrid/desk"),
        ("?encryption", "bucket encryption", "warning", "allow s3:GetEncryptionConfiguration on htcgrid-desk-"),
    ],
)
def test_a_missing_permission_is_named(
    aws: ScriptedAws, account: Account, grid: Any, call: str, check: str, verdict: str, action: str
) -> None:
    """And all else is looked at."""
    body = json.dumps({"__type": "AccessDeniedException", "message": "User is not authorized"})
    if call.startswith("?"):
        call = f"GET /{grid.bucket}{call}"
        body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    aws.answers = [Answer(call, 403, body, times=1000)]
    code, findings = examined(account)
    assert code == (verdict == "problem")
    assert_said(findings, check, verdict, "is not permitted")
    assert any(each["check"] == check and action in each["advice"] for each in findings)
    if check != "parameter":
        assert len(wrong(findings)) == 1
        assert {*CHECKS} - {each["check"] for each in findings} <= {"backlog", "dead letters"}


@pytest.mark.parametrize(
    ("off", "verdict", "says"),
    [(40.0, "warning", "s ahead of AWS's"), (-3600.0, "problem", "s behind AWS's: AWS refuses calls from 300 s on")],
)
def test_a_wrong_clock(
    account: Account, grid: Any, monkeypatch: pytest.MonkeyPatch, off: float, verdict: str, says: str
) -> None:
    monkeypatch.setattr(account_check, "time", SimpleNamespace(time=lambda: time.time() + off))
    _, findings = examined(account)
    assert_said(findings, "clock", verdict, says)


def test_a_clock_so_wrong_that_aws_refuses_everything(aws: ScriptedAws, account: Account) -> None:
    said = (
        f"<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>{EXPIRED}</Message></Error></ErrorResponse>"
    )
    aws.answers = [Answer("POST /", 403, said)]
    code, findings = examined(account)
    assert code == 1
    assert_said(findings, "account", "problem", "the clock of this machine is wrong")


def test_agents_alive_and_ill(account: Account, grid: Any) -> None:
    store, now = DynamoStore(account.dynamodb, grid.table), time.time()
    store.beat(AgentRecord("one", "default", "host", 1, 8, 3, now))
    store.beat(AgentRecord("two", "default", "host", 2, 8, 0, now, "workers cannot start"))
    store.beat(AgentRecord("three", "gone", "host", 3, 8, 0, now))
    store.beat(AgentRecord("four", "default", "host", 4, 8, 0, now - 10 * limits.LEASE_SECONDS))
    _, findings = examined(account)
    (alive,) = [each["message"] for each in findings if each["check"] == "agents" and each["verdict"] == "ok"]
    assert alive == "pool default: 2 alive, 3 of 16 slots busy"
    assert_said(findings, "agents", "problem", "agent two cannot work: workers cannot start")
    assert_said(findings, "agents", "warning", "agents serve pool 'gone'")


def test_its_url_is_no_good() -> None:
    ran = CliRunner().invoke(cli, ["doctor", "--url", "aws://Desk"])
    assert ran.exit_code == 2
    assert "is not a grid's URL" in ran.stderr
