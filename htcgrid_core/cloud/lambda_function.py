"""What every Lambda function of a grid is given: which grid it serves, and how long it may take."""

from __future__ import annotations

import os
from typing import Protocol

from htcgrid_core.cloud.address import Address, parse_aws
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.session import DEFAULT_TENANT

URL_VARIABLE = "HTCGRID_URL"
TENANT_VARIABLE = "HTCGRID_TENANT"


class LambdaContext(Protocol):
    """What is needed of a function's second argument."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is killed."""


def served_grid() -> Address:
    """The grid of ``HTCGRID_URL``.

    Raises:
        InvalidInput: that is not set. UnknownGrid: it is no grid's URL.
    """
    url = os.environ.get(URL_VARIABLE)
    if not url:
        raise InvalidInput(f"which grid? Set {URL_VARIABLE} to aws://NAME")
    return parse_aws(url)


def served_tenant() -> str:
    """The one tenant that the function serves, of ``HTCGRID_TENANT``."""
    return os.environ.get(TENANT_VARIABLE) or DEFAULT_TENANT
