"""What workers keep of earlier sessions costs later ones nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from htcgrid_core import Grid, RetryPolicy, connect
from tests.e2e.support import ended, fresh_grid

MB = 8
SESSIONS = 16


def holding(ballast: bytes) -> Callable[[int], tuple[int, int]]:
    """A function that is large, and says in which process it runs, and how large that is."""

    def weigh(_: int) -> tuple[int, int]:
        return os.getpid(), psutil.Process().memory_info().rss >> 20 if ballast else 0

    return weigh


@pytest.fixture
def grid(tmp_path: Path) -> object:
    """A grid of one slot."""
    with fresh_grid(tmp_path / "grid", slots=1) as url, connect(url) as grid:
        yield grid


def test_large_functions_do_not_add_up(grid: Grid) -> None:
    seen = [next(iter(grid.map(holding(random.randbytes(MB << 20)), [1]))) for _ in range(SESSIONS)]
    assert len({pid for pid, _ in seen}) == 1
    assert seen[-1][1] - seen[0][1] < MB * SESSIONS * 3 // 4


def test_a_worker_with_little_memory_loads_one_large_function_after_another(grid: Grid) -> None:
    for _ in range(SESSIONS):
        session = grid.submit(
            holding(random.randbytes(MB << 20)), [1], memory_mb=128, retry=RetryPolicy(max_attempts=1)
        )
        ended(session)
        assert len(list(session.results())) == 1


def test_a_function_too_large_for_its_worker_is_named(grid: Grid) -> None:
    session = grid.submit(holding(bytes(48 << 20)), [1], memory_mb=64, retry=RetryPolicy(max_attempts=1))
    ended(session)
    (failure,) = session.results(errors="return")
    assert failure.error.type == "OutOfMemory"
    assert "could not be loaded: MemoryError: it needed more than the 64 MiB that it had" in failure.error.message
