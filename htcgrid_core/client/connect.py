"""connect(url): the one way to a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from htcgrid_core.client.urls import unsaid_url

if TYPE_CHECKING:
    import boto3

    from htcgrid_core.client.async_grid import AsyncGrid
    from htcgrid_core.client.grid import Grid


def connect(
    url: str | None = None,
    *,
    aws_session: boto3.Session | None = None,
    api_token: str | None = None,
    allow_pickle: bool = False,
    create: bool = True,
) -> Grid:
    """Connect to a grid.

    Args:
        url: ``local://`` (the embedded grid in ``$HTCGRID_HOME`` or ``~/.htcgrid``) or ``local:///PATH``, with
            options ``?agents=1&slots=2&idle=60``; ``aws://NAME``, with options ``?region=eu-west-1&profile=P``,
            or in several regions ``?regions=eu-west-1:3,us-east-1:1``;
            ``https://HOST`` of a server (``htcgrid serve``), or ``http://127.0.0.1:PORT`` on this machine; None for
            ``$HTCGRID_URL``, and ``local://`` without it.
        aws_session: whose credentials an ``aws://`` grid is used with, instead of those that its URL names.
        api_token: by which a server knows who asks; None for ``$HTCGRID_API_TOKEN``.
        allow_pickle: load a server's pickled results, which those of Python callables are. It lets whoever has the
            server in hand run code here: allow it for one that you trust as your own code.
        create: whether the directory of an embedded grid is made if it is not there: for those who only look, False.

    Raises:
        UnknownGrid: nobody knows such a URL, or there is no such grid.
        AccessDenied: there are no credentials for it, or they do not permit to use it.
        GridUnavailable: the grid cannot be reached or written to.
        IncompatibleGrid: its data is of another version.
    """
    from htcgrid_core.client.grid import Grid
    from htcgrid_core.gateway.opening import open_gateway

    where = url or unsaid_url()
    return Grid(
        open_gateway(where, aws_session=aws_session, api_token=api_token, allow_pickle=allow_pickle, create=create)
    )


def connect_async(
    url: str | None = None,
    *,
    aws_session: boto3.Session | None = None,
    api_token: str | None = None,
    allow_pickle: bool = False,
) -> AsyncGrid:
    """A grid for code that runs in an event loop, which connects when it is entered.

    ``async with connect_async(url) as grid: ...``; arguments are those of ``connect``, and so is what entering raises.
    """
    from htcgrid_core.client.async_grid import AsyncGrid

    return AsyncGrid(lambda: connect(url, aws_session=aws_session, api_token=api_token, allow_pickle=allow_pickle))
