"""Calls of AWS that a component made, and what IAM wants for each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Named = dict[str, Any]
SSM_CALLS_OF_A_START = 3  # of an agent: the grid's parameter, its first key, and those after it
_ITEMS = {
    "ConditionCheck": "ConditionCheckItem",
    "Delete": "DeleteItem",
    "Get": "GetItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
}
_SQS = {
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
    "DeleteMessageBatch": "DeleteMessage",
    "SendMessageBatch": "SendMessage",
}
_S3 = {
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjectsV2": "ListBucket",
    "UploadPart": "PutObject",
}
_OF_OBJECTS = {"AbortMultipartUpload", "DeleteObject", "GetObject", "PutObject"}
# What a service asks of KMS in its caller's name where the grid has a key of its own, by the services' documentation.
_OF_KMS: dict[str, dict[str, tuple[str, ...]]] = {
    "dynamodb": {"": ("Decrypt",)},
    "s3": {"GetObject": ("Decrypt",), "PutObject": ("GenerateDataKey",)},
    "sns": {"": ("Decrypt", "GenerateDataKey")},
    "sqs": {"ReceiveMessage": ("Decrypt",), "SendMessage": ("Decrypt", "GenerateDataKey")},
    "ssm": {"GetParameter": ("Decrypt",), "GetParametersByPath": ("Decrypt",)},
}


@dataclass(frozen=True, order=True)
class Need:
    """One permission.

    Attributes:
        via: the service that needs it for the caller; empty for a call of the caller's own.
    """

    action: str
    resource: str
    via: str = ""


@dataclass(frozen=True)
class Account:
    """Where the calls went."""

    id: str
    region: str
    key_arn: str | None = None

    def arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.id}:{rest}"


@dataclass(frozen=True)
class Call:
    """One call as the recorder wrote it."""

    component: str
    process: int
    service: str
    operation: str
    region: str
    named: Named


def recorded(file: Path) -> list[Call]:
    """All calls that were written."""
    return [Call(**json.loads(line)) for line in file.read_text().splitlines()]


def needs(call: Call, account: Account) -> Iterator[Need]:
    """The permissions that a call takes.

    Raises:
        KeyError: of which it is not known here.
    """
    own = list(_own(call, account))
    yield from own
    if account.key_arn is not None:
        for need in own:
            yield from _of_key(call, need, account.key_arn, account.region)


def _of_key(call: Call, need: Need, key_arn: str, region: str) -> Iterator[Need]:
    if call.service == "ssm" and not call.named.get("WithDecryption"):
        return
    of_service = _OF_KMS.get(call.service, {})
    actions = of_service.get(need.action.partition(":")[2], of_service.get("", ()))
    if "Multipart" in call.operation or call.operation == "UploadPart":
        actions = ("Decrypt", "GenerateDataKey")  # S3 reads the parts when it puts them together
    for action in actions:
        if "Bucket" not in call.named or need.resource.endswith("/*"):
            yield Need(f"kms:{action}", key_arn, f"{call.service}.{region}.amazonaws.com")


def _own(call: Call, account: Account) -> Iterable[Need]:
    named, operation = call.named, call.operation
    if call.service == "sts":
        assert operation == "GetCallerIdentity", call  # which everybody may call
        return []
    if operation == "GetServiceSetting":
        return [Need(f"ssm:{operation}", account.arn("ssm", f"servicesetting{named['SettingId']}"))]
    if call.service == "ssm":
        return [Need(f"ssm:{operation}", account.arn("ssm", "parameter" + (named.get("Name") or named["Path"])))]
    if call.service == "stepfunctions":  # for which IAM knows no resources
        return [Need(f"states:{operation}", "*")]
    if call.service == "sns":
        return [Need("sns:Publish", named["TopicArn"])]
    if call.service == "events":
        return [Need(f"events:{operation}", bus) for bus in named["Buses"]]
    if call.service == "sqs":
        queue = named["QueueName"] if operation == "GetQueueUrl" else named["QueueUrl"].rpartition("/")[2]
        return [Need(f"sqs:{_SQS.get(operation, operation)}", account.arn("sqs", queue))]
    if call.service == "s3":
        action = _S3.get(operation, operation)
        bucket = f"arn:aws:s3:::{named['Bucket']}"
        found = [Need(f"s3:{action}", f"{bucket}/*" if action in _OF_OBJECTS else bucket)]
        if "Below" in named:
            found = [Need(f"s3:{action}", f"{bucket}/{folder}/*") for folder in named["Below"]]
        return [*found, Need("s3:GetObject", f"{bucket}/*")] if operation == "CopyObject" else found
    assert call.service == "dynamodb", call
    if operation.startswith("Transact"):
        return [Need(f"dynamodb:{_ITEMS[kind]}", _table(account, table)) for kind, table in named["Items"]]
    tables = named.get("Tables") or [named["TableName"]]
    index = f"/index/{named['IndexName']}" if "IndexName" in named else ""
    return [Need(f"dynamodb:{operation}", _table(account, table) + index) for table in tables]


def _table(account: Account, name: str) -> str:
    return account.arn("dynamodb", f"table/{name}")
