"""An agent that is killed while it starts, as the kernel does when memory is short, is started once more."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, GridUnavailable, connect
from htcgrid_core.domain import limits
from htcgrid_core.local import agent_processes
from htcgrid_core.local.agent_processes import START_TRIES
from tests.e2e.support import GUARD_SECONDS, ended, fresh_grid


@pytest.fixture
def kill_next(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the next agents be killed as soon as they are processes."""
    left, start = 0, subprocess.Popen

    def popen(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        nonlocal left
        process = start(*args, **options)
        if left > 0:
            left -= 1
            os.kill(process.pid, signal.SIGKILL)
        return process

    def kill(count: int) -> None:
        nonlocal left
        left = count

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(agent_processes, "START_PAUSE_SECONDS", 0.01)
    return kill


def test_one_that_is_killed_is_no_reason_to_give_up(grid: Grid, kill_next: Callable[[int], None]) -> None:
    kill_next(START_TRIES - 1)
    assert list(grid.submit(abs, [-1]).results()) == [1]


def test_so_in_a_process_that_ignores_its_children(grid: Grid, kill_next: Callable[[int], None]) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        kill_next(1)
        assert list(grid.map(abs, [-1])) == [1]
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_several_are_told_and_the_session_goes_on_with_the_next(grid: Grid, kill_next: Callable[[int], None]) -> None:
    kill_next(START_TRIES)
    with pytest.raises(GridUnavailable, match="exit code -9"):
        grid.submit(abs, [-1])
    (session,) = grid.sessions()
    assert ended(session).state == "COMPLETED"


def test_several_start_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes most of a second: whoever submits first waits for one of them, and not for one after the other."""
    begun: list[int] = []
    ready_after: list[int] = []
    start, read = subprocess.Popen, os.read

    def popen(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = start(*args, **options)
        begun.append(process.pid)
        return process

    def heard(fd: int, size: int) -> bytes:
        said = read(fd, size)
        if said == b"+":
            ready_after.append(len(begun))
        return said

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(os, "read", heard)
    with fresh_grid(tmp_path / "grid", agents=3) as url, connect(url) as grid:
        assert list(grid.map(abs, [-1])) == [1]
    assert ready_after == [3, 3, 3]


def test_a_map_whose_grid_cannot_be_reached_is_not_cancelled(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        results = grid.map(abs, [-1, -2])

        def fails(*_: object) -> None:
            raise GridUnavailable("gone")

        (session,) = grid.sessions()
        broken.setattr(type(session), "encoded_pages", fails)
        broken.setattr(limits, "PATIENCE_SECONDS", 0.0)
        with pytest.raises(GridUnavailable, match="gone"):
            list(results)
    assert session.wait(timeout=GUARD_SECONDS).state == "COMPLETED"
