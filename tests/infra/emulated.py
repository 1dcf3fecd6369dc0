"""What an applied state says is there, made on an emulator: through AWS's API, from nothing but the state."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from tests.aws.emulators import Account
from tests.infra.terraform import KEY, Resource

Values = dict[str, Any]


def make(account: Account, resources: Iterable[Resource]) -> set[str]:
    """Make all that the emulator has; the types that were made."""
    made = set()
    by_type: dict[str, list[Values]] = {}
    for resource in resources:
        by_type.setdefault(resource.type, []).append(resource.values)
    for type_name, maker in MAKERS.items():
        for values in by_type.get(type_name, ()):
            maker(account, values)
            made.add(type_name)
    return made


def table_request(values: Values) -> Values:
    """CreateTable's arguments."""
    keys = [{"AttributeName": values["hash_key"], "KeyType": "HASH"}]
    return {
        "TableName": values["name"],
        "BillingMode": values["billing_mode"],
        "AttributeDefinitions": [
            {"AttributeName": each["name"], "AttributeType": each["type"]} for each in values["attribute"]
        ],
        "KeySchema": [*keys, {"AttributeName": values["range_key"], "KeyType": "RANGE"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index["name"],
                "KeySchema": [
                    {"AttributeName": key["attribute_name"], "KeyType": key["key_type"]} for key in index["key_schema"]
                ],
                "Projection": {"ProjectionType": index["projection_type"]},
            }
            for index in values["global_secondary_index"]
        ],
    }


def _table(account: Account, values: Values) -> None:
    client = account.dynamodb()
    client.create_table(**table_request(values), Tags=_tags(values))
    (ttl,) = values["ttl"]
    client.update_time_to_live(
        TableName=values["name"],
        TimeToLiveSpecification={"Enabled": ttl["enabled"], "AttributeName": ttl["attribute_name"]},
    )


def queue_attributes(values: Values) -> dict[str, str]:
    """CreateQueue's attributes."""
    named = {
        "MessageRetentionPeriod": "message_retention_seconds",
        "VisibilityTimeout": "visibility_timeout_seconds",
        "ReceiveMessageWaitTimeSeconds": "receive_wait_time_seconds",
    }
    found = {name: str(values[key]) for name, key in named.items() if values.get(key) is not None}
    return found | (
        {"RedrivePolicy": values["redrive_policy"]} if str(values.get("redrive_policy", "")).startswith("{") else {}
    )


def _queue(account: Account, values: Values) -> None:
    account.sqs().create_queue(QueueName=values["name"], Attributes=queue_attributes(values), tags=values["tags"])  # type: ignore[arg-type]


def _bucket(account: Account, values: Values) -> None:
    where: Any = {"LocationConstraint": values["region"]}
    account.s3().create_bucket(Bucket=values["bucket"], CreateBucketConfiguration=where)
    account.s3().put_bucket_tagging(Bucket=values["bucket"], Tagging={"TagSet": _tags(values)})


def _private(account: Account, values: Values) -> None:
    words = ("block_public_acls", "ignore_public_acls", "block_public_policy", "restrict_public_buckets")
    flags: Any = {"".join(part.title() for part in word.split("_")): values[word] for word in words}
    account.s3().put_public_access_block(Bucket=values["bucket"], PublicAccessBlockConfiguration=flags)


def _encryption(account: Account, values: Values) -> None:
    (rule,) = values["rule"]
    (default,) = rule["apply_server_side_encryption_by_default"]
    by: Any = {"SSEAlgorithm": default["sse_algorithm"]}
    if default.get("kms_master_key_id"):
        by["KMSMasterKeyID"] = default["kms_master_key_id"]
    account.s3().put_bucket_encryption(
        Bucket=values["bucket"],
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": by}]},
    )


def _lifecycle(account: Account, values: Values) -> None:
    rules: list[Any] = []
    for rule in values["rule"]:
        prefix = next((each["prefix"] or "" for each in rule["filter"]), "")
        made: Any = {"ID": rule["id"], "Status": rule["status"], "Filter": {"Prefix": prefix}}
        for each in rule["expiration"]:
            made["Expiration"] = {"Days": each["days"]}
        for each in rule["abort_incomplete_multipart_upload"]:
            made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": each["days_after_initiation"]}
        rules.append(made)
    account.s3().put_bucket_lifecycle_configuration(Bucket=values["bucket"], LifecycleConfiguration={"Rules": rules})


def _parameter(account: Account, values: Values) -> None:
    # A write-only value is in no state: that is what it is for.
    value = values["value"] if values["type"] == "String" else KEY
    account.client("ssm").put_parameter(
        Name=values["name"], Type=values["type"], Value=value, Tier=values["tier"] or "Standard"
    )


def _topic(account: Account, values: Values) -> None:
    made = account.client("sns").create_topic(Name=values["name"])
    assert made["TopicArn"] == values["arn"]


def _bus(account: Account, values: Values) -> None:
    made = account.client("events").create_event_bus(Name=values["name"])
    assert made["EventBusArn"] == values["arn"]


def _tags(values: Values) -> list[Any]:
    return [{"Key": key, "Value": value} for key, value in values["tags"].items()]


# In an order in which AWS would take them.
MAKERS: dict[str, Callable[[Account, Values], None]] = {
    "aws_dynamodb_table": _table,
    "aws_sqs_queue": _queue,
    "aws_s3_bucket": _bucket,
    "aws_s3_bucket_public_access_block": _private,
    "aws_s3_bucket_server_side_encryption_configuration": _encryption,
    "aws_s3_bucket_lifecycle_configuration": _lifecycle,
    "aws_ssm_parameter": _parameter,
    "aws_sns_topic": _topic,
    "aws_cloudwatch_event_bus": _bus,
}


def policy_of(resources: Iterable[Resource], component: str) -> str:
    """The document of a component's rendered policy."""
    (found,) = (
        each.values["policy"]
        for each in resources
        if each.type == "aws_iam_policy" and each.address.endswith(f'component["{component}"]')
    )
    json.loads(found)
    return str(found)
