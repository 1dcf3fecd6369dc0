"""How many threads the libraries of tasks begin, on slots that share the cores of one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from htcgrid_core import connect
from htcgrid_core.agent.cores import available_cores
from htcgrid_core.agent.workers.threads import VARIABLES
from tests.e2e.support import fresh_grid


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process may have been told how many threads to begin."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def blas_threads(_: int) -> int:
    """How many threads NumPy's products run in, here."""
    import numpy  # noqa: F401 - it loads the library
    import threadpoolctl

    return int(max(pool["num_threads"] for pool in threadpoolctl.threadpool_info()))


def test_as_many_as_a_slot_has_cores(tmp_path: Path) -> None:
    with fresh_grid(tmp_path / "grid", slots=available_cores()) as url, connect(url) as grid:
        assert list(grid.map(blas_threads, [1])) == [1]


def test_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(available_cores()))
    with fresh_grid(tmp_path / "grid", slots=available_cores()) as url, connect(url) as grid:
        assert list(grid.map(blas_threads, [1])) == [available_cores()]
