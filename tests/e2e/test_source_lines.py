"""Where it went wrong, in the user's own file: also of functions that workers cannot import."""

from __future__ import annotations

import linecache
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, RetryPolicy, SessionConflict
from tests.e2e.support import ended

ONCE = RetryPolicy(max_attempts=1)
SCRIPT = """
from htcgrid_core import RetryPolicy, SessionFailed, connect


def simulate(paths):
    return 1 / paths


if __name__ == "__main__":
    with connect() as grid:
        session = grid.submit(simulate, [0], retry=RetryPolicy(max_attempts=1))
        session.wait()
        print(session.task(0).error.traceback)
"""
CELL = """
def simulate(paths):
    return 1 / paths
"""


def test_a_script(grid_url: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    env = {**os.environ, "HTCGRID_URL": grid_url}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert f'File "{script}", line 6, in simulate' in done.stdout, done.stderr
    assert "return 1 / paths" in done.stdout


def cell(name: str) -> Callable[..., Any]:
    """A function of a notebook's cell, whose file is in its kernel's memory alone."""
    linecache.cache[name] = len(CELL), None, CELL.splitlines(keepends=True), name
    found: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(CELL, name, "exec"), found)
    simulate: Callable[..., Any] = found["simulate"]
    return simulate


def test_a_notebook_that_runs_a_step_again(grid: Grid) -> None:
    """Its cells lie elsewhere in each kernel: the step is the same session."""
    first = grid.submit(cell("/tmp/ipykernel_1/1.py"), [0], token="step", retry=ONCE)
    error = ended(first).state, first.task(0).error
    assert error[1] is not None
    assert 'File "/tmp/ipykernel_1/1.py", line 3, in simulate\n    return 1 / paths' in error[1].traceback
    again = grid.submit(cell("/tmp/ipykernel_2/7.py"), [0], token="step", retry=ONCE)
    assert again.id == first.id
    with pytest.raises(SessionConflict):
        grid.submit(lambda paths: paths, [0], token="step", retry=ONCE)


def test_each_session_says_where_its_own_code_stands(grid: Grid) -> None:
    """Though the code is the same, and a worker may have it from the other."""
    for name in ("/tmp/ipykernel_1/1.py", "/tmp/ipykernel_2/7.py"):
        session = grid.submit(cell(name), [0], retry=ONCE)
        ended(session)
        error = session.task(0).error
        assert error is not None
        assert f'File "{name}", line 3, in simulate\n    return 1 / paths' in error.traceback


def test_tasks_run_without_their_lines(grid: Grid, grid_url: str) -> None:
    """They are for people: they may be lost."""
    session = grid.submit(cell("/tmp/ipykernel_1/1.py"), [0], retry=ONCE)
    assert ended(session).state == "FAILED"
    folder = Path(grid_url.partition("?")[0].removeprefix("local://"))
    lines = folder / "blobs" / "shared" / str(session.spec.function.sources)
    assert b"return 1 / paths" in lines.read_bytes()
    lines.unlink()
    again = grid.resubmit(session)
    ended(again)
    error = again.task(0).error
    assert error is not None
    assert error.type == "ZeroDivisionError"
