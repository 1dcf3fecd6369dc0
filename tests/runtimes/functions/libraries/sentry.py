"""Sentry's integration, which patches the module of AWS's client that calls handlers."""

from typing import Any

import sentry_sdk
from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration

captured: list[Any] = []


def keep(event: Any, hint: Any) -> None:
    """Instead of sending it."""
    captured.append([event["exception"]["values"][-1]["type"], event["extra"]["lambda"]["function_name"]])


sentry_sdk.init(dsn="http://key@127.0.0.1/1", integrations=[AwsLambdaIntegration()], before_send=keep)


def handler(event: Any, context: Any) -> Any:
    if event["feature"] == "raise":
        raise ValueError("no price")
    return captured
