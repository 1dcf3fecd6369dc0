"""connect(url): the one way to a grid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import UnknownGrid
from htcgrid_core.local.agent_processes import Fleet
from htcgrid_core.local.directory import Directory

if TYPE_CHECKING:
    import boto3

    from htcgrid_core.client.deployment import Deployment
    from htcgrid_core.client.grid import Grid

URL_VARIABLE = "HTCGRID_URL"
DEFAULT_URL = "local://"


class LocalOptions(BaseModel):
    """What may follow the question mark of a ``local://`` URL.

    Attributes:
        agents: agent processes.
        slots: tasks that each runs at once; 0 for the cores of this machine.
        idle: seconds after which idle agents leave.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agents: int = Field(default=1, ge=1, le=64)
    slots: int = Field(default=0, ge=0, le=4096)
    idle: float = Field(default=limits.AGENT_IDLE_SECONDS, ge=0, allow_inf_nan=False)


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
    from htcgrid_core.local.embedded import EmbeddedGrid

    url = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    if url.split(":", 1)[0] == "aws":
        return Grid(_cloud_grid(url, aws_session))
    directory, fleet = parse_local(url)
    return Grid(EmbeddedGrid(url, directory, fleet))


def _cloud_grid(url: str, session: boto3.Session | None) -> Deployment:
    try:
        from htcgrid_core.cloud.address import parse_aws
        from htcgrid_core.cloud.deployment import CloudGrid
    except ModuleNotFoundError as error:
        if error.name not in ("boto3", "botocore"):
            raise
        raise UnknownGrid(f"{url!r} needs boto3: pip install 'htcgrid[aws]'") from error
    return CloudGrid(parse_aws(url), session)


def parse_local(url: str) -> tuple[Directory, Fleet]:
    """The directory and agents that a ``local://`` URL names.

    Raises:
        UnknownGrid: it is not such a URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UnknownGrid(f"{url!r} is not a URL: {error}") from error
    if parts.scheme == "aws":
        raise UnknownGrid(f"{url!r} is on AWS; this is about the embedded grid: local:// or local:///PATH")
    if parts.scheme != "local":
        raise UnknownGrid(f"{url!r} is not a grid's URL: write local://, local:///PATH or aws://NAME")
    if parts.netloc or parts.fragment:
        raise UnknownGrid(f"{url!r}: a directory needs three slashes, as in local:///{parts.netloc or 'PATH'}")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    try:
        options = LocalOptions.model_validate(dict(pairs))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UnknownGrid(f"{url!r}: {wrong} (options are agents, slots and idle)") from error
    path = unquote(parts.path)
    if (path and not path.startswith("/")) or "\0" in path:
        raise UnknownGrid(f"{url!r}: name the whole path of a directory, as in local:///PATH")
    directory = Directory(Path(path)) if path not in ("", "/") else Directory.default()
    return directory, Fleet(options.agents, options.slots, options.idle)
