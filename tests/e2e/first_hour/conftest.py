"""A fresh folder and a fresh grid, as a new user has them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from htcgrid_core import Grid, connect
from htcgrid_core.local.directory import Directory
from tests.e2e.command_line import CommandLine
from tests.e2e.support import end_agents


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A shell in a folder with a module ``mine``; one grid for all tests of a module."""
    folder = tmp_path_factory.mktemp("first-hour")
    try:
        yield CommandLine.in_folder(folder / "work", f"local://{folder}/grid?slots=2&idle=20")
    finally:
        end_agents(Directory(folder / "grid"))


@pytest.fixture(scope="module")
def grid(shell: CommandLine) -> Iterator[Grid]:
    """A connection to that grid."""
    with connect(shell.url) as grid:
        yield grid
