"""The grids of the end-to-end tests."""

from __future__ import annotations

from tests.e2e.conftest import grid, grid_url

__all__ = ["grid", "grid_url"]
