"""Where the services are asked: at AWS's own endpoints, or at those that AWS_ENDPOINT_URL and its like name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from htcgrid_core.domain.errors import InvalidInput

if TYPE_CHECKING:
    from htcgrid_core.adapters.aws.clients import Clients

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


def check_endpoints(clients: Clients) -> None:
    """See that not some services are an emulator's and others AWS's own, unless that was asked for in so many words.

    Raises:
        InvalidInput: which variable is missing.
    """
    urls = {service: str(getattr(clients, service).meta.endpoint_url) for service in SERVICES}
    elsewhere = [service for service, url in urls.items() if not is_aws(url)]
    forgotten = [service for service in urls if service not in elsewhere and variable_of(service) not in os.environ]
    if not elsewhere or not forgotten:
        return
    names = ", ".join(map(variable_of, forgotten))
    raise InvalidInput(
        f"{elsewhere[0].upper()} is asked at {urls[elsewhere[0]]}, but {_and(forgotten)} at AWS's own "
        f"{urls[forgotten[0]]}: set {names}, or {VARIABLE} for all services; if that is meant, set it to AWS's own URL"
    )


def forgotten_variables() -> str:
    """What to think of when AWS's own endpoint refuses or does not answer: variables that are set for some services."""
    if VARIABLE in os.environ:
        return ""
    named = [variable_of(service) for service in SERVICES if variable_of(service) in os.environ]
    others = [variable_of(service) for service in SERVICES if variable_of(service) not in os.environ]
    return f" ({', '.join(named)} is set, but not {', '.join(others)})" if named and others else ""


def _and(services: list[str]) -> str:
    return " and ".join(service.upper() for service in services)
