"""Events by which AWS brings objects, events and records, as it documents them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote_plus

from tests.aws.emulators import REGION
from tests.aws.lambda_events import ACCOUNT

STREAM = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/ticks"


def notification(bucket: str, key: str, etag: str, *, version_id: str = "", sequencer: str = "0055AED6") -> Any:
    """S3's own, of an object that was created."""
    found = {"key": quote_plus(key, safe="/"), "size": 3, "eTag": etag, "sequencer": sequencer}
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": "2026-11-29T06:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "in",
            "bucket": {"name": bucket, "ownerIdentity": {"principalId": "A3NL1"}, "arn": f"arn:aws:s3:::{bucket}"},
            "object": found | ({"versionId": version_id} if version_id else {}),
        },
    }
    return {"Records": [record]}


def bus(source: str, detail_type: str, detail: Any, number: int = 1) -> Any:
    """EventBridge's."""
    return {
        "version": "0",
        "id": f"6a7e8feb-b491-4cf7-a9f1-bf370{number:07d}",
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": "2026-11-29T06:00:00Z",
        "region": REGION,
        "resources": [],
        "detail": detail,
    }


def created(bucket: str, key: str, etag: str, *, version_id: str = "", sequencer: str = "0055AED6") -> Any:
    """The same of an object that was created."""
    found = {"key": key, "size": 3, "etag": etag, "sequencer": sequencer}
    detail = {
        "version": "0",
        "bucket": {"name": bucket},
        "object": found | ({"version-id": version_id} if version_id else {}),
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": ACCOUNT,
        "source-ip-address": "192.0.2.1",
        "reason": "PutObject",
    }
    return bus("aws.s3", "Object Created", detail)


def records(values: Sequence[Any], first: int = 0, shard: int = 0) -> Any:
    """A batch of Kinesis."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "1",
                    "sequenceNumber": f"4959033827149025660855969253836158109573177{number:012d}",
                    "data": base64.b64encode(json.dumps(value).encode()).decode(),
                    "approximateArrivalTimestamp": 1545084650.987,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-{shard:012d}:4959033827149025660855969253836158109573177{number:012d}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": f"arn:aws:iam::{ACCOUNT}:role/lambda-role",
                "awsRegion": REGION,
                "eventSourceARN": STREAM,
            }
            for number, value in enumerate(values, first)
        ]
    }
