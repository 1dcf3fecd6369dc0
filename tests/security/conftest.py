"""The grids of the end-to-end tests."""

from __future__ import annotations

from tests.aws.conftest import aws_cloud
from tests.e2e.conftest import grid, grid_url

__all__ = ["aws_cloud", "grid", "grid_url"]
