"""A grid's resources, made and removed with boto3, each idempotently; Terraform makes the same for production."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.dynamodb import schema
from htcgrid_core.adapters.aws.errors import aws_errors, code_of
from htcgrid_core.adapters.aws.parameter import (
    KEY_BYTES,
    Defaults,
    GridParameter,
    PoolQueues,
    key_name,
    parameter_name,
)
from htcgrid_core.adapters.aws.sqs.receiver import LONG_POLL_SECONDS
from htcgrid_core.domain import limits

RETENTION_SECONDS = 14 * 86400  # of messages: SQS's longest
# An agent that looks and has no room hands a message back, which counts as a receive; crashes are counted in the table.
MAX_RECEIVES = 100
SESSION_BLOB_DAYS = 90  # the reconciler deletes them much earlier; this is for those of a grid that has none
DELETE_BATCH = 1000

Say = Callable[[str], None]


class Resources:
    """All that grid ``name`` has in one account and region."""

    def __init__(self, clients: Clients, name: str, say: Say) -> None:
        self._clients = clients
        self._name = name
        self._say = say

    # Names

    @property
    def table(self) -> str:
        """The table's name."""
        return f"htcgrid-{self._name}"

    def queue(self, pool: str, priority: str) -> str:
        """The name of a pool's queue of a priority, or of ``dead`` letters."""
        return f"htcgrid-{self._name}-{pool}-{priority}"

    def account(self) -> str:
        """Whose the resources are."""
        with aws_errors("AWS STS"):
            return str(self._clients.sts.get_caller_identity()["Account"])

    def bucket(self, account: str) -> str:
        """The bucket's name, which must be its own in all accounts."""
        return f"htcgrid-{self._name}-{account}-{self._clients.region}"[:63].rstrip("-")

    # Making

    def make(self, pools: Sequence[str], defaults: Defaults) -> GridParameter:
        """Make what is missing, and last the parameter by which the grid is found.

        Raises:
            AccessDenied, GridUnavailable: some was made; the same call carries on.
        """
        account = self.account()
        bucket = self.bucket(account)
        self._make_table()
        queues = {pool: self._make_queues(pool) for pool in pools}
        self._make_bucket(bucket, account)
        key = self._make_key()
        parameter = GridParameter(
            table=self.table, bucket=bucket, account=account, queues=queues, key=key, defaults=defaults
        )
        with aws_errors(f"SSM parameter {parameter_name(self._name)}"):
            self._clients.ssm.put_parameter(
                Name=parameter_name(self._name), Value=parameter.model_dump_json(), Type="String", Overwrite=True
            )
        self._say(f"parameter {parameter_name(self._name)}")
        return parameter

    def _make_table(self) -> None:
        dynamodb = self._clients.dynamodb
        with aws_errors(f"DynamoDB table {self.table}"):
            try:
                dynamodb.create_table(**schema.create_table(self.table))
            except ClientError as error:
                if code_of(error) != "ResourceInUseException":
                    raise
            dynamodb.get_waiter("table_exists").wait(
                TableName=self.table, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
            )
            found = dynamodb.describe_time_to_live(TableName=self.table)["TimeToLiveDescription"]
            if found.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
                dynamodb.update_time_to_live(**schema.time_to_live(self.table))
        self._say(f"table {self.table}")

    def _make_queues(self, pool: str) -> PoolQueues:
        sqs = self._clients.sqs
        urls: dict[str, str] = {}
        common = {"MessageRetentionPeriod": str(RETENTION_SECONDS)}
        urls["dead"] = self._make_queue(self.queue(pool, "dead"), common)
        with aws_errors(f"SQS queue {urls['dead']}"):
            attributes = sqs.get_queue_attributes(QueueUrl=urls["dead"], AttributeNames=["QueueArn"])["Attributes"]
        redrive = {"deadLetterTargetArn": attributes["QueueArn"], "maxReceiveCount": MAX_RECEIVES}
        for priority in ("high", "normal", "low"):
            urls[priority] = self._make_queue(
                self.queue(pool, priority),
                {
                    **common,
                    "VisibilityTimeout": str(int(limits.LEASE_SECONDS)),
                    "ReceiveMessageWaitTimeSeconds": str(LONG_POLL_SECONDS),
                    "RedrivePolicy": json.dumps(redrive),
                },
            )
        return PoolQueues(**urls)

    def _make_queue(self, name: str, attributes: Any) -> str:
        sqs = self._clients.sqs
        with aws_errors(f"SQS queue {name}"):
            try:
                url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
                sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
            except ClientError as error:
                if not _is_missing(error):
                    raise
                url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self._say(f"queue {name}")
        return url

    def _make_bucket(self, bucket: str, account: str) -> None:
        s3, region = self._clients.s3, self._clients.region
        where: Any = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with aws_errors(f"S3 bucket {bucket}"):
            try:
                s3.create_bucket(Bucket=bucket, **where)
            except ClientError as error:
                if code_of(error) != "BucketAlreadyOwnedByYou":
                    raise
            owned: Any = {"Bucket": bucket, "ExpectedBucketOwner": account}  # else somebody else's of the same name
            s3.put_public_access_block(
                **owned,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )
            s3.put_bucket_policy(**owned, Policy=json.dumps(tls_only(bucket, s3.meta.partition)))
            s3.put_bucket_encryption(
                **owned,
                ServerSideEncryptionConfiguration={
                    "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
                },
            )
            s3.put_bucket_lifecycle_configuration(
                **owned,
                LifecycleConfiguration={
                    "Rules": [
                        {
                            "ID": "sessions",
                            "Status": "Enabled",
                            "Filter": {"Prefix": "sessions/"},
                            "Expiration": {"Days": SESSION_BLOB_DAYS},
                        }
                    ]
                },
            )
        self._say(f"bucket {bucket}")

    def _make_key(self) -> str:
        name = key_name(self._name)
        with aws_errors(f"SSM parameter {name}"):
            try:
                self._clients.ssm.put_parameter(Name=name, Value=secrets.token_hex(KEY_BYTES), Type="SecureString")
            except ClientError as error:
                if code_of(error) != "ParameterAlreadyExists":  # a new key would make what was signed worthless
                    raise
        self._say(f"secret {name}")
        return name

    # Removing

    def remove(self) -> None:
        """Remove everything there is, first the parameter, so that nobody finds the grid half removed."""
        self._remove_parameters([parameter_name(self._name)])
        self._remove_queues()
        account = self.account()
        self._remove_bucket(self.bucket(account), account)
        with aws_errors(f"DynamoDB table {self.table}"):
            try:
                self._clients.dynamodb.delete_table(TableName=self.table)
                self._say(f"table {self.table}")
            except ClientError as error:
                if not _is_missing(error):
                    raise
        self._remove_parameters([key_name(self._name)])

    def _remove_parameters(self, names: list[str]) -> None:
        with aws_errors(f"SSM parameters {', '.join(names)}"):
            for name in self._clients.ssm.delete_parameters(Names=names)["DeletedParameters"]:
                self._say(f"parameter {name}")

    def _remove_queues(self) -> None:
        sqs, prefix = self._clients.sqs, f"htcgrid-{self._name}-"
        with aws_errors(f"SQS queues {prefix}*"):
            pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix)
            urls = [url for page in pages for url in page.get("QueueUrls", ())]
        for url in urls:
            queue = url.rpartition("/")[2]
            pool, _, priority = queue.removeprefix(prefix).rpartition("-")
            if not pool or priority not in PoolQueues.model_fields:
                continue
            with aws_errors(f"SQS queue {queue}"):
                try:
                    sqs.delete_queue(QueueUrl=url)
                except ClientError as error:
                    if not _is_missing(error):
                        raise
            self._say(f"queue {queue}")

    def _remove_bucket(self, bucket: str, account: str) -> None:
        s3 = self._clients.s3
        owned: Any = {"Bucket": bucket, "ExpectedBucketOwner": account}
        with aws_errors(f"S3 bucket {bucket}"):
            try:
                for page in s3.get_paginator("list_object_versions").paginate(**owned):
                    found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
                    for at in range(0, len(found), DELETE_BATCH):
                        objects: Any = [
                            {"Key": entry["Key"], "VersionId": entry["VersionId"]}
                            for entry in found[at : at + DELETE_BATCH]
                        ]
                        s3.delete_objects(**owned, Delete={"Objects": objects, "Quiet": True})
                s3.delete_bucket(**owned)
                self._say(f"bucket {bucket}")
            except ClientError as error:
                if not _is_missing(error):
                    raise


def tls_only(bucket: str, partition: str) -> dict[str, Any]:
    """The bucket's policy: nothing without TLS, whoever asks."""
    arn = f"arn:{partition}:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def _is_missing(error: ClientError) -> bool:
    return code_of(error) in (
        "NoSuchBucket", "NonExistentQueue", "QueueDoesNotExist", "ResourceNotFoundException",
    )  # fmt: skip
