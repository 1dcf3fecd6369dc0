"""The bucket of a grid."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.errors import aws_errors, code_of, is_missing
from htcgrid_core.adapters.aws.resources.patience import Patience
from htcgrid_core.adapters.aws.resources.tags import TAG, owner_in, where_there_are_tags
from htcgrid_core.domain.errors import AccessDenied, GridError

SESSION_PREFIX = "sessions/"  # which no rule expires: the reconciler and the sweep know what is on legal hold
PART_DAYS = 7  # in which an upload whose client puts its parts itself must be sealed, and made a session
PART_PREFIX = "incoming/"
DELETE_BATCH = 1000
T = TypeVar("T")


class Bucket:
    """An S3 bucket.

    Args:
        account: that must own it, or it is another's of the same name.
    """

    def __init__(self, clients: Clients, name: str, account: str, patience: Patience) -> None:
        self.name = name
        self._where: Any = {"Bucket": name, "ExpectedBucketOwner": account}
        self._clients = clients
        self._patience = patience

    @property
    def label(self) -> str:
        """What it is, for people."""
        return f"bucket {self.name}"

    def owner(self) -> str | None:
        """The grid that its tag names."""
        tags = self._tags()
        return None if tags is None else owner_in(tags)

    def is_empty(self) -> bool:
        """Whether there is nothing in it, deleted versions included."""
        with aws_errors(f"S3 bucket {self.name}"):
            return not any(self._versions())

    def _tags(self) -> dict[str, str] | None:
        nothing: Any = {"TagSet": ()}
        get = self._clients.s3.get_bucket_tagging
        with aws_errors(f"S3 bucket {self.name}"):
            try:
                answer = where_there_are_tags(lambda: get(**self._where), nothing)
                return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}
            except ClientError as error:
                if code_of(error) == "NoSuchTagSet":
                    return {}
                if not is_missing(error):
                    raise
                return None

    def claim(self, grid: str) -> None:
        """Tag it as a grid's; it keeps its other tags."""
        tags = {**(self._tags() or {}), TAG: grid}
        tagging: Any = {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}
        put = self._clients.s3.put_bucket_tagging
        self._call(lambda: where_there_are_tags(lambda: put(**self._where, Tagging=tagging), None))

    def named_in(self, parameter: str) -> bool:
        """Whether a grid's parameter names it."""
        return re.search(rf'"bucket"\s*:\s*"{re.escape(self.name)}"', parameter) is not None

    def make(self, grid: str) -> None:
        """Make it unless it is there: private, encrypted, emptied of forgotten uploads."""
        self._call(self._create)
        if not self.owner():
            self.claim(grid)
        s3 = self._clients.s3
        self._call(
            lambda: s3.put_public_access_block(
                **self._where,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )
        )
        policy = json.dumps(tls_only(self.name, s3.meta.partition))
        self._call(lambda: s3.put_bucket_policy(**self._where, Policy=policy))
        self._call(
            lambda: s3.put_bucket_encryption(
                **self._where,
                ServerSideEncryptionConfiguration={
                    "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
                },
            )
        )
        self._call(
            lambda: s3.put_bucket_lifecycle_configuration(
                **self._where,
                LifecycleConfiguration={"Rules": [_expiring("incoming-parts", PART_PREFIX, PART_DAYS)]},
            )
        )

    def _create(self) -> None:
        region = self._clients.region
        where: Any = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self._clients.s3.create_bucket(Bucket=self.name, **where)
        except ClientError as error:
            if code_of(error) != "BucketAlreadyOwnedByYou":
                raise

    def _call(self, call: Callable[[], T]) -> T:
        """Make a call; again while S3 is not done with another one about the same bucket, such as its deletion."""
        wait = self._patience.begin()
        while True:
            with aws_errors(f"S3 bucket {self.name}"):
                try:
                    return call()
                except ClientError as error:
                    if code_of(error) != "OperationAborted":
                        raise
            wait.longer(f"{self.label} is still being deleted or changed")

    def remove(self) -> None:
        """Remove it with all that is in it, if it is there; what is written meanwhile is removed, too."""
        wait = self._patience.begin()
        while not self._removed():
            wait.longer(f"{self.label} is still written to: is an agent running")

    def _removed(self) -> bool:
        with aws_errors(f"S3 bucket {self.name}"):
            try:
                for objects in self._versions():
                    self._delete(objects)
                self._clients.s3.delete_bucket(**self._where)
            except ClientError as error:
                if code_of(error) in ("BucketNotEmpty", "OperationAborted"):
                    return False
                if not is_missing(error):
                    raise
        return True

    def _versions(self) -> Iterator[list[dict[str, str]]]:
        """All that is in it, deleted versions included, as many at once as one call deletes."""
        for page in self._clients.s3.get_paginator("list_object_versions").paginate(**self._where):
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            for at in range(0, len(found), DELETE_BATCH):
                yield [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found[at : at + DELETE_BATCH]]

    def _delete(self, objects: Any) -> None:
        answer = self._clients.s3.delete_objects(**self._where, Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", ()):
            code = error.get("Code")
            if code != "InternalError":  # which passes: the bucket is not empty then
                kind = AccessDenied if code == "AccessDenied" else GridError
                text = f"{error.get('Key')} cannot be deleted ({code}: {error.get('Message')})"
                raise kind(f"S3 bucket {self.name}: {text}")


def _expiring(name: str, prefix: str, days: int) -> Any:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, "Expiration": {"Days": days}}


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
