"""Commands for what only grids on AWS have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from htcgrid_core.cli.options import is_aws

if TYPE_CHECKING:
    from htcgrid_core.cloud.plane import CloudPlane


@contextmanager
def opened_cloud(url: str, what: str) -> Iterator[CloudPlane]:
    """The grid of ``url``; a usage error, which says that only grids on AWS have ``what``, for another kind."""
    if not is_aws(url):
        raise click.UsageError(f"only grids on AWS have {what}: --url aws://NAME")
    from htcgrid_core.cloud.address import parse_aws
    from htcgrid_core.cloud.plane import open_cloud

    cloud = open_cloud(parse_aws(url))
    try:
        yield cloud
    finally:
        cloud.close()
