"""connect(url): the one way to a grid."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import boto3

    from htcgrid_core.client.grid import Grid

URL_VARIABLE = "HTCGRID_URL"
DEFAULT_URL = "local://"


def connect(url: str | None = None, *, aws_session: boto3.Session | None = None) -> Grid:
    """Connect to a grid.

    Args:
        url: ``local://`` (the embedded grid in ``$HTCGRID_HOME`` or ``~/.htcgrid``) or ``local:///PATH``, with
            options ``?agents=1&slots=2&idle=60``; ``aws://NAME``, with options ``?region=eu-west-1&profile=P``; None
            for ``$HTCGRID_URL``, and ``local://`` without it.
        aws_session: whose credentials an ``aws://`` grid is used with, instead of those that its URL names.

    Raises:
        UnknownGrid: nobody knows such a URL, or there is no such grid.
        AccessDenied: there are no credentials for it, or they do not permit to use it.
        GridUnavailable: the grid cannot be reached or written to.
        IncompatibleGrid: its data is of another version.
    """
    from htcgrid_core.client.grid import Grid
    from htcgrid_core.gateway.opening import open_gateway

    return Grid(open_gateway(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL, aws_session=aws_session))
