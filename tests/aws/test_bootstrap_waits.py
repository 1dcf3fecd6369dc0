"""Right after a teardown AWS has not let go of the names yet: bootstrap waits, says so, and not for ever."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from htcgrid_core.adapters.aws.resources import patience
from htcgrid_core.cli.main import cli
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.bootstrap import bootstrap, teardown
from htcgrid_core.domain.errors import GridUnavailable
from tests.aws.emulators import REGION, Account
from tests.aws.grids import clients_of, settings_of, url_of
from tests.aws.scripted_proxy import Answer, ScriptedAws

DELETING = json.dumps({"Table": {"TableName": "htcgrid-desk", "TableStatus": "DELETING", "TableArn": "arn"}})
RECENTLY = json.dumps({"__type": "com.amazonaws.sqs#QueueDeletedRecently", "message": "wait 60 seconds"})
ABORTED = "<Error><Code>OperationAborted</Code><Message>A conflicting conditional operation</Message></Error>"
BUSY = json.dumps({"__type": "TooManyUpdates", "message": "There are concurrent updates"})
IN_USE = json.dumps({"__type": "ResourceInUseException", "message": "Table is being created"})
NOT_EMPTY = "<Error><Code>BucketNotEmpty</Code><Message>The bucket is not empty</Message></Error>"


@pytest.fixture
def account(aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account without grids behind the proxy, in a world without pauses."""
    found = Account(aws.url)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    clients = clients_of(found)
    monkeypatch.setattr("htcgrid_core.cloud.bootstrap.Clients", lambda _settings: clients)
    monkeypatch.setattr(patience, "PAUSE_SECONDS", 0.0)
    aws.answers = []
    return found


def bucket_of(account: Account) -> str:
    return f"htcgrid-desk-{account.id}-{REGION}"


def put_bucket(account: Account) -> str:
    return f"PUT /{bucket_of(account)}"


def delete_bucket(account: Account) -> str:
    return f"DELETE /{bucket_of(account)}"


def test_until_the_names_are_free_again(aws: ScriptedAws, account: Account) -> None:
    """Table, queue and bucket; SSM's parameter is not ready at once either."""
    aws.answers = [
        Answer("DescribeTable", 200, DELETING, times=3),  # the first is asked whose the table is
        Answer("CreateQueue", 400, RECENTLY),
        Answer(put_bucket(account), 409, ABORTED),
        Answer("PutParameter", 400, BUSY),
    ]
    ran = CliRunner().invoke(cli, ["aws", "bootstrap", url_of(account, "desk"), "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["table"] == "htcgrid-desk"
    assert [line for line in ran.stderr.splitlines() if "waiting" in line] == [
        "table htcgrid-desk is DELETING: waiting, for at most 300 s",
        "queue htcgrid_desk_default_dead was deleted less than a minute ago: waiting, for at most 300 s",
        f"bucket {bucket_of(account)} is still being deleted or changed: waiting, for at most 300 s",
        "parameter /htcgrid/desk/key is still being deleted or changed: waiting, for at most 300 s",
    ]
    assert not any(answer.times for answer in aws.answers)


@pytest.mark.parametrize(
    ("call", "status", "body", "says"),
    [
        ("DescribeTable", 200, DELETING, "table htcgrid-desk is DELETING"),
        ("CreateQueue", 400, RECENTLY, "queue htcgrid_desk_default_dead was deleted"),
        ("bucket", 409, ABORTED, "bucket htcgrid-desk-.* is still being deleted"),
    ],
)
def test_not_for_ever(
    aws: ScriptedAws, account: Account, monkeypatch: pytest.MonkeyPatch, call: str, status: int, body: str, says: str
) -> None:
    monkeypatch.setattr(patience, "WAIT_SECONDS", 0.0)
    aws.answers = [Answer(put_bucket(account) if call == "bucket" else call, status, body, times=1000)]
    with pytest.raises(GridUnavailable, match=f"{says}.*run the same command again later"):
        bootstrap(Address("desk", settings_of(account)), ["default"])


def test_teardown_waits_for_what_is_being_made_or_written_to(aws: ScriptedAws, account: Account) -> None:
    """A table that a bootstrap has just begun to make cannot be deleted yet, nor a bucket that agents write to."""
    address = Address("desk", settings_of(account))
    bootstrap(address, ["default"])
    aws.answers = [Answer("DeleteTable", 400, IN_USE), Answer(delete_bucket(account), 409, NOT_EMPTY)]
    said: list[str] = []
    teardown(address, say=said.append)
    assert "table htcgrid-desk is still being made or changed: waiting, for at most 300 s" in said
    assert any("is still written to: is an agent running" in text for text in said)
    assert "table htcgrid-desk" in said
    assert account.dynamodb().list_tables()["TableNames"] == []
