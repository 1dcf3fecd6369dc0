"""Two regions in memory, and the grid that they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.regions.given import World, world


@pytest.fixture
def two(tmp_path: Path) -> World:
    """eu-west-1 and us-east-1, of the same weight."""
    return world(tmp_path)
