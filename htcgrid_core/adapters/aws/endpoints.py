"""Where the services are asked: at AWS's own endpoints, or at those that AWS_ENDPOINT_URL and its like name."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

VARIABLE = "AWS_ENDPOINT_URL"
SERVICES = ("dynamodb", "sqs", "s3", "ssm", "sts")
_DOMAINS = ("amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws")


def variable_of(service: str) -> str:
    """The variable that names one service's endpoint."""
    return f"{VARIABLE}_{service.upper()}"


def is_aws(url: str) -> bool:
    """Whether an endpoint is AWS's own, a VPC's among them."""
    host = urlsplit(url).hostname or ""
    return any(host == domain or host.endswith(f".{domain}") for domain in _DOMAINS)


def forgotten_variables() -> str:
    """What to think of when AWS's own endpoint refuses or does not answer: variables that are set for some services."""
    if VARIABLE in os.environ:
        return ""
    named = [variable_of(service) for service in SERVICES if variable_of(service) in os.environ]
    others = [variable_of(service) for service in SERVICES if variable_of(service) not in os.environ]
    return f" ({', '.join(named)} is set, but not {', '.join(others)})" if named and others else ""
