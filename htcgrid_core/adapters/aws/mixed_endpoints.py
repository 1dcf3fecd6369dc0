"""Some services at an emulator and the others at AWS: half a grid would be made in each."""

from __future__ import annotations

import os

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.endpoints import SERVICES, VARIABLE, is_aws, variable_of
from htcgrid_core.domain.errors import InvalidInput


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


def _and(services: list[str]) -> str:
    return " and ".join(service.upper() for service in services)
