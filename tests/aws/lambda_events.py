"""Events of Lambda functions as AWS documents them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from tests.aws.emulators import REGION

ACCOUNT = "123456789012"


def http(body: Any = None, *, path: dict[str, str] | None = None, query: dict[str, str] | None = None) -> Any:
    """API Gateway's HTTP API, payload version 2.0, behind a JWT authorizer."""
    claims = {"sub": "desk", "token_use": "access", "exp": "1800000000", "client_id": "abc"}
    return {
        "version": "2.0",
        "routeKey": "POST /sessions",
        "rawPath": "/sessions",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "authorization": "Bearer x"},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "a1b2c3",
            "authorizer": {"jwt": {"claims": claims, "scopes": None}},
            "domainName": f"a1b2c3.execute-api.{REGION}.amazonaws.com",
            "http": {"method": "POST", "path": "/sessions", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
            "requestId": "id=",
            "stage": "$default",
            "timeEpoch": 1583348638390,
        },
        "isBase64Encoded": False,
        **({} if body is None else {"body": json.dumps(body)}),
        **({"pathParameters": path} if path else {}),
        **({"queryStringParameters": query} if query else {}),
    }


def rest(body: Any, *, signed: bool = True) -> Any:
    """API Gateway's REST API with IAM, and a body in base64."""
    return {
        "resource": "/sessions",
        "path": "/sessions",
        "httpMethod": "POST",
        "headers": {"content-type": "application/json"},
        "queryStringParameters": None,
        "pathParameters": None,
        "requestContext": {
            "identity": {
                "userArn": f"arn:aws:sts::{ACCOUNT}:assumed-role/states/x" if signed else None,
                "apiKey": None,
            },
            "authorizer": None,
            "stage": "prod",
        },
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "isBase64Encoded": True,
    }


def sqs(bodies: Sequence[str], *, queue: str = "asked", group: str = "") -> Any:
    """SQS's mapping."""
    fifo = {"MessageGroupId": group, "SequenceNumber": "18849496460467696128"} if group else {}
    return {
        "Records": [
            {
                "messageId": f"059f36b4-87a3-44ab-83d2-66197{number:07d}",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1545082649183",
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": "1545082649185",
                    **fifo,
                },
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}{'.fifo' if group else ''}",
                "awsRegion": REGION,
            }
            for number, body in enumerate(bodies)
        ]
    }


def schedule(**detail: Any) -> Any:
    """A rule of EventBridge by the clock."""
    return {
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": "2026-11-29T06:00:00Z",
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/every-minute"],
        "detail": detail,
    }
