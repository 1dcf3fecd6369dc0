"""Tasks that submit to the grid that runs them, and wait: lent workers, or an error that says that there is none."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from htcgrid_core import Grid, RetryPolicy, SessionFailed, connect
from tests.e2e.support import GUARD_SECONDS, ended

ONCE = RetryPolicy(max_attempts=1)


def where(_: object) -> str:
    """The grid that a task connects to where it names none."""
    with connect() as grid:
        return grid.url


def by_results(count: int) -> int:
    """Wait for a session's results."""
    with connect() as grid:
        return sum(grid.submit(abs, range(count)).results())


def by_map(count: int) -> int:
    """Wait for each result."""
    with connect() as grid:
        return sum(grid.map(abs, range(count)))


def by_calls(count: int) -> int:
    """Wait for futures, while another thread collects them."""
    with connect() as grid, grid.executor() as pool:
        return sum(future.result() for future in [pool.submit(abs, n) for n in range(count)])


def by_looks(count: int) -> int:
    """Wait by looking again and again."""
    with connect() as grid:
        session = grid.submit(abs, range(count))
        while not session.done():
            time.sleep(0.01)
        return sum(session.results())


def deep(levels: int) -> int:
    """Wait for a task that waits for a task, so many times."""
    if not levels:
        return 0
    with connect() as grid:
        return 1 + int(next(grid.submit(deep, [levels - 1], retry=ONCE).results()))


def test_a_task_that_names_no_grid_connects_to_the_one_that_runs_it(grid: Grid, grid_url: str) -> None:
    (found,) = grid.submit(where, [None]).results()
    assert found.partition("?")[0] == grid_url.partition("?")[0]


@pytest.mark.parametrize("wait", [by_results, by_map, by_calls, by_looks])
def test_more_tasks_than_slots_that_wait_for_their_own_grid(url: str, wait: object) -> None:
    with connect(url) as grid:
        session = grid.submit(wait, [20] * 6, bundle_size=1, retry=ONCE)  # type: ignore[arg-type]
        assert ended(session).state == "COMPLETED"
        assert list(session.results()) == [190] * 6


def test_as_deep_as_there_are_slots_to_lend(url: str) -> None:
    with connect(url) as grid:
        assert list(grid.submit(deep, [2], retry=ONCE).results()) == [2]


def test_deeper_is_told_by_name_and_harms_nobody_else(url: str) -> None:
    with connect(url) as grid:
        with pytest.raises(SessionFailed, match="WouldDeadlock: this task waits for session s-"):
            list(grid.submit(deep, [5], retry=ONCE).results())
        for left in grid.sessions("RUNNING"):
            ended(left)
        assert list(grid.submit(by_results, [20] * 4, bundle_size=1).results()) == [190] * 4


def test_a_module_that_submits_when_it_is_imported_is_refused(tmp_path: Path, grid_url: str) -> None:
    (tmp_path / "nightly.py").write_text(
        f"""
from htcgrid_core import RetryPolicy, connect
def square(x): return x * x
with connect({grid_url!r}) as grid:
    print(list(grid.submit(square, range(4), retry=RetryPolicy(max_attempts=2, backoff_base_seconds=0.0)).results()))
"""
    )
    ran = subprocess.run(
        [sys.executable, "-c", "import nightly"],
        cwd=tmp_path, capture_output=True, text=True, timeout=GUARD_SECONDS, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "module nightly submits to a grid when it is imported" in ran.stderr
    assert "if __name__ ==" in ran.stderr
    with connect(grid_url) as grid:
        assert [session.done() for session in grid.sessions()] == [True]


def test_a_module_that_a_task_imports_late_is_refused_too(tmp_path: Path, grid: Grid, grid_url: str) -> None:
    (tmp_path / "late.py").write_text(
        f"""
from htcgrid_core import connect
with connect({grid_url!r}) as grid, grid.executor() as pool:
    print(pool.submit(abs, -1).result())
"""
    )

    def imports(folder: str) -> None:
        sys.path.insert(0, folder)
        import late  # type: ignore[import-not-found]  # noqa: F401 - what it does when it is imported matters

    session = grid.submit(imports, [str(tmp_path)], retry=ONCE)
    with pytest.raises(SessionFailed, match="InvalidInput: module late submits to a grid when it is imported"):
        list(session.results())
    assert len(grid.sessions()) == 1
