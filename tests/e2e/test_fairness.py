"""A short session does not wait for the end of a long one, though one agent has them both."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import pytest

from htcgrid_core import Grid, InvalidInput, connect
from tests.e2e.support import fresh_grid


def doze(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@pytest.mark.parametrize("priority", ["high", "normal"])
def test_a_short_session_beside_a_long_one(tmp_path: Path, priority: Literal["high", "normal"]) -> None:
    with fresh_grid(tmp_path / "grid") as url, connect(url) as grid:
        long = grid.submit(doze, [0.02] * 600, name="long", priority="normal")
        next(long.as_completed())  # it runs
        short = grid.submit(doze, [0.02] * 2, name="short", priority=priority)
        short.wait()
        assert long.progress().pending > 100, "the short one waited for the long one"
        assert list(long.results()) == [0.02] * 600


def test_a_pool_that_nobody_serves(grid: Grid) -> None:
    with pytest.raises(InvalidInput, match="serves pool 'gpu'"):
        grid.submit(doze, [0.0], pool="gpu")
    with pytest.raises(InvalidInput, match="serves pool 'gpu'"):
        grid.map(doze, [0.0], pool="gpu")
    assert grid.sessions() == []
