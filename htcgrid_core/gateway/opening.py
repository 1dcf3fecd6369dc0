"""From a grid's URL to its gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from htcgrid_core.domain.errors import AccessDenied, UnknownGrid
from htcgrid_core.domain.extras import what_is_missing
from htcgrid_core.domain.this_worker import this_worker
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.served import ServedGrid

if TYPE_CHECKING:
    import boto3

    from htcgrid_core.gateway.deployment import Deployment
    from htcgrid_core.gateway.protocol import Gateway


def open_gateway(url: str, *, aws_session: boto3.Session | None = None) -> Gateway:
    """The gateway of a grid.

    Args:
        url: ``local://``, ``local:///PATH`` or ``aws://NAME``, with options.
        aws_session: whose credentials an ``aws://`` grid is used with, instead of those that its URL names.

    Raises:
        UnknownGrid, AccessDenied, GridUnavailable, IncompatibleGrid: as for ``connect``.
    """
    if url.split(":", 1)[0] == "aws":
        return InProcessGateway(_cloud_grid(url, aws_session))
    return InProcessGateway(_embedded_grid(url))


def open_served(url: str) -> ServedGrid:
    """A grid for a server to serve.

    Raises:
        UnknownGrid, AccessDenied, GridUnavailable, IncompatibleGrid: as for ``connect``.
    """
    gateway = open_gateway(url)
    if not isinstance(gateway, InProcessGateway):
        raise UnknownGrid(f"{url!r} is served already: give this server the grid itself, local:// or aws://")
    return ServedGrid(gateway)


def _embedded_grid(url: str) -> Deployment:
    from htcgrid_core.local.address import parse_local
    from htcgrid_core.local.embedded import EmbeddedGrid

    directory, fleet = parse_local(url)
    return EmbeddedGrid(url, directory, fleet)


def _cloud_grid(url: str, session: boto3.Session | None) -> Deployment:
    try:
        from htcgrid_core.cloud.address import parse_aws
        from htcgrid_core.cloud.deployment import CloudGrid
    except ModuleNotFoundError as error:
        if not (missing := what_is_missing(error)):
            raise
        raise UnknownGrid(f"{url!r} {missing}") from error
    try:
        return CloudGrid(parse_aws(url), session)
    except AccessDenied as error:
        if this_worker() is None:
            raise
        raise AccessDenied(
            f"{error}. This is a task, and tasks get none of their agent's credentials: give it its own, by naming "
            "their variables in HTCGRID_WORKER_ENV before the agent starts, or as variables of a deployed function"
        ) from error
