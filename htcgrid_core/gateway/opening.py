"""From a grid's URL to its gateway."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from htcgrid_core.domain.errors import AccessDenied, UnknownGrid
from htcgrid_core.domain.extras import what_is_missing
from htcgrid_core.domain.this_worker import this_worker
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.regions.gateway import RegionalGateway
from htcgrid_core.gateway.regions.region import Region
from htcgrid_core.gateway.served import ServedGrid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import ThreadPoolExecutor

    import boto3

    from htcgrid_core.gateway.deployment import Deployment
    from htcgrid_core.gateway.protocol import Gateway
    from htcgrid_core.gateway.reader import AsyncReader


def open_gateway(
    url: str,
    *,
    aws_session: boto3.Session | None = None,
    api_token: str | None = None,
    allow_pickle: bool = False,
    create: bool = True,
) -> Gateway:
    """The gateway of a grid.

    Args:
        url: ``local://``, ``local:///PATH`` or ``aws://NAME``, with options, ``regions=`` among these; or
            ``https://HOST`` of a server, or ``http://`` on this machine.
        aws_session: whose credentials an ``aws://`` grid is used with, instead of those that its URL names.
        api_token: by which a server knows who asks; None for what the environment has.
        allow_pickle: whether a server's pickled results are loaded.
        create: whether the directory of an embedded grid is made if it is not there.

    Raises:
        UnknownGrid, AccessDenied, GridUnavailable, IncompatibleGrid: as for ``connect``.
    """
    if not isinstance(url, str):  # a program may say anything, such as a Path
        raise UnknownGrid(f"a grid is named by a URL, as text: local://, local:///PATH; not {url!r}")
    if url.split(":", 1)[0] in ("http", "https"):
        from htcgrid_core.gateway.http.address import ApiToken, parse_http
        from htcgrid_core.gateway.http.gateway import HttpGateway

        address = parse_http(url)  # first: whatever else is wrong, a token is not looked for on behalf of a wrong one
        return HttpGateway(address, ApiToken.given(api_token), allow_pickle=allow_pickle)
    if url.split(":", 1)[0] == "aws":
        return _regional(url, aws_session) or _cloud(url, aws_session)
    return InProcessGateway(_embedded_grid(url, create))


def async_reader(gateway: Gateway, threads: ThreadPoolExecutor) -> AsyncReader:
    """The long calls of a grid for one event loop: natively over HTTP, else in threads."""
    from htcgrid_core.gateway.in_threads import ReaderInThreads

    if isinstance(gateway, InProcessGateway):
        return ReaderInThreads(gateway, threads)
    from htcgrid_core.gateway.http.gateway import HttpGateway

    return gateway.async_reader() if isinstance(gateway, HttpGateway) else ReaderInThreads(gateway, threads)


def open_served(url: str) -> ServedGrid:
    """A grid for a server to serve.

    Raises:
        UnknownGrid, AccessDenied, GridUnavailable, IncompatibleGrid: as for ``connect``.
    """
    gateway = open_gateway(url)
    if isinstance(gateway, RegionalGateway):
        raise UnknownGrid(
            f"{url!r} is in several regions, and a server is of one: run one in each, with region= in its URL, so that "
            "one that is lost takes no other with it"
        )
    if not isinstance(gateway, InProcessGateway):
        raise UnknownGrid(f"{url!r} is served already: give this server the grid itself, local:// or aws://")
    return ServedGrid(gateway)


def _embedded_grid(url: str, create: bool) -> Deployment:
    from htcgrid_core.local.address import parse_local
    from htcgrid_core.local.embedded import EmbeddedGrid

    directory, fleet = parse_local(url)
    if not create:
        directory.require()
    return EmbeddedGrid(url, directory, fleet)


def _regional(url: str, session: boto3.Session | None) -> RegionalGateway | None:
    """The grids of a URL that names several regions; None for any other."""
    with _extra_of(url):
        from htcgrid_core.cloud.address import has_regions, parse_regions
    if not has_regions(url):
        return None
    address = parse_regions(url)
    regions = [
        Region(name, partial(_cloud, address.of(name).url, session), weight=weight, is_lost=name in address.lost)
        for name, weight in address.weights.items()
    ]
    gateway = RegionalGateway(url, regions)
    gateway.open()
    return gateway


@contextlib.contextmanager
def _extra_of(url: str) -> Iterator[None]:
    """A package that is missing is told as what the URL needs."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not (missing := what_is_missing(error)):
            raise
        raise UnknownGrid(f"{url!r} {missing}") from error


def _cloud(url: str, session: boto3.Session | None) -> InProcessGateway:
    return InProcessGateway(_cloud_grid(url, session))


def _cloud_grid(url: str, session: boto3.Session | None) -> Deployment:
    with _extra_of(url):
        from htcgrid_core.cloud.address import parse_aws
        from htcgrid_core.cloud.deployment import CloudGrid
    try:
        return CloudGrid(parse_aws(url), session)
    except AccessDenied as error:
        if this_worker() is None:
            raise
        raise AccessDenied(
            f"{error}. This is a task, and tasks get none of their agent's credentials: give it its own, by naming "
            "their variables in HTCGRID_WORKER_ENV before the agent starts, or as variables of a deployed function"
        ) from error
