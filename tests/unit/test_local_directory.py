"""A grid's directory is its owner's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core.codecs.signing import KEY_BYTES
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.local.directory import Directory, open_plane


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A process that hides nothing of what it makes."""
    before = os.umask(0)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_the_grid_makes_is_its_owners_only(tmp_path: Path, open_umask: None) -> None:
    directory = Directory(tmp_path / "grid")
    open_plane(directory)
    assert _mode(directory.root) == 0o700  # so that nobody else comes to what is in it
    assert _mode(directory.root / "key") == 0o600


def test_a_place_where_nothing_can_be_made() -> None:
    """Though its parent is there."""
    with pytest.raises(GridUnavailable, match="directory cannot be used"):
        open_plane(Directory(Path("/proc/no/such/grid")))


def test_every_grid_has_a_key_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    one, other = Directory(tmp_path / "one"), Directory(tmp_path / "other")
    keys = [open_plane(directory).keys.signer().secret for directory in (one, other, one)]
    assert keys[0] == keys[2] != keys[1]
    assert len(keys[0]) == KEY_BYTES
