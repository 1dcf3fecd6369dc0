"""A grid's planes, for commands that do on this machine what agents and operators do, not clients."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from htcgrid_core.cli.options import is_aws

if TYPE_CHECKING:
    from htcgrid_core.ports.plane import Plane


@dataclass(frozen=True)
class OpenGrid:
    """A grid's planes.

    Attributes:
        packages: folder of this machine for unpacked packages.
        cache_bytes: that may be in it.
    """

    plane: Plane
    packages: Path
    cache_bytes: int


@contextlib.contextmanager
def opened(url: str, *, make: bool = False) -> Iterator[OpenGrid]:
    """The planes of the grid at a URL.

    Args:
        make: make an embedded grid that is not there.

    Raises:
        UnknownGrid, AccessDenied, GridUnavailable, IncompatibleGrid: as for ``connect``.
    """
    if is_aws(url):
        from htcgrid_core.cloud.address import parse_aws
        from htcgrid_core.cloud.plane import open_cloud

        cloud = open_cloud(parse_aws(url))
        try:
            cloud.prepare_cache()
            yield OpenGrid(cloud.plane, cloud.cache, cloud.times.cache_bytes)
        finally:
            cloud.close()
    else:
        from htcgrid_core.local.address import parse_local
        from htcgrid_core.local.directory import open_plane
        from htcgrid_core.local.settings import AgentTimes

        directory, _ = parse_local(url)
        if not make:
            directory.require()
        times = AgentTimes.from_environment(os.environ)
        yield OpenGrid(open_plane(directory), directory.packages, times.cache_bytes)
