"""A failing task is seen while it fails, with its last error and what it printed; and RUNNING means running."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, RetryPolicy, Session
from htcgrid_core.cli.logs import new_part
from htcgrid_core.domain import limits
from tests.e2e.command_line import CommandLine
from tests.e2e.support import ended, eventually
from tests.planes import plane_of

SLOWLY = RetryPolicy(max_attempts=3, backoff_base_seconds=3600, backoff_cap_seconds=3600)


def fails_at_the_gate(event: dict[str, Any]) -> int:
    """Print and fail until the gate is open."""
    print("printed before it failed", "x" * 5000, "the end")
    if event["n"] % 2 and not Path(event["gate"]).exists():
        raise ValueError(f"{event['n']} is no good yet")
    return int(event["n"])


def holds(event: dict[str, Any]) -> int:
    """Print, and hold until the gate is open."""
    print("holding", event["n"], flush=True)
    while not Path(event["gate"]).exists():
        time.sleep(0.01)
    return int(event["n"])


def fails_and_holds(event: dict[str, Any]) -> None:
    """Fail once, and hold then until the gate is open."""
    failed = Path(event["gate"] + ".failed")
    if not failed.exists():
        failed.touch()
        raise ValueError
    holds(event)


def has_printed(session: Session, index: int) -> bool:
    return session.task(index).stdout == f"holding {index}\n"


def of(gate: Path, count: int) -> list[dict[str, Any]]:
    return [{"n": n, "gate": str(gate)} for n in range(count)]


def test_a_failing_task_is_seen_while_it_fails(grid: Grid, grid_url: str, tmp_path: Path) -> None:
    session = grid.submit(fails_at_the_gate, of(tmp_path / "gate", 6), retry=SLOWLY)
    eventually(lambda: session.progress().retrying == 3, "those that fail are counted")
    now = session.progress()
    assert (now.completed, now.failed, now.pending) == (3, 0, 3)
    assert repr(now) == "<Progress RUNNING: 3 of 6 tasks completed, 3 pending, 3 of these retrying>"
    waiting = sorted(session.tasks("RETRY"), key=lambda task: task.index)
    assert [(task.index, task.attempts) for task in waiting] == [(1, 1), (3, 1), (5, 1)]
    for task in waiting:
        assert task.error is not None
        assert (task.error.type, task.error.message) == ("ValueError", f"{task.index} is no good yet")
        assert "ValueError" in task.error.traceback
        assert task.stdout.endswith("the end\n")
        assert len(task.stdout) == limits.ATTEMPT_TEXT_BYTES
        assert task.started_at
    assert session.task(3).error == waiting[1].error
    session.cancel()
    assert ended(session).retrying == 0
    ran = CommandLine.in_folder(tmp_path / "work", grid_url).call("logs", session.id, "1")
    assert ran.err == "task 1 was cancelled; what earlier attempts of it said is not kept\n"


def test_retrying_comes_back_to_none(grid: Grid, tmp_path: Path) -> None:
    quickly = RetryPolicy(max_attempts=1000, backoff_base_seconds=0.01, backoff_cap_seconds=0.02)
    session = grid.submit(fails_at_the_gate, of(tmp_path / "gate", 6), retry=quickly)
    eventually(lambda: session.progress().retrying == 3, "those that fail are counted")
    (tmp_path / "gate").touch()
    assert ended(session).state == "COMPLETED"
    assert session.progress().retrying == 0
    assert session._refresh().counters.retrying == 0, "in the row itself"


def test_running_means_running_and_says_what_it_prints(grid: Grid, tmp_path: Path) -> None:
    """The grid's agent has two slots, and holds more."""
    gate = tmp_path / "gate"
    session = grid.submit(holds, of(gate, 20))
    try:
        eventually(lambda: len(list(session.tasks("RUNNING"))) == 2, "its agent tells what has begun")
        running = {task.index: task for task in session.tasks("RUNNING")}
        held = [task for task in session.tasks("QUEUED") if task.agent]
        assert held, "others that it holds are queued"
        assert not {task.index for task in held} & running.keys()
        assert all(task.attempts == 0 for task in held)
        for index, task in running.items():
            assert (task.attempts, task.state) == (1, "RUNNING")
            assert task.started_at
            eventually(partial(has_printed, session, index), "what it has printed so far is told")
    finally:
        gate.touch()
    assert ended(session).state == "COMPLETED"


def test_an_agent_tells_which_attempt_it_runs(grid: Grid, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    store = plane_of(grid).store

    def attempts() -> set[int]:
        said = [task for agent in store.agents(time.time()) for task in agent.begun or ()]
        return {task.attempt for task in said if task.session_id == session.id}

    retry = RetryPolicy(max_attempts=2, backoff_base_seconds=0, backoff_cap_seconds=0)
    session = grid.submit(fails_and_holds, of(gate, 1), retry=retry)
    try:
        eventually(lambda: attempts() == {2}, "the second")
        assert session.task(0).attempts == 2
    finally:
        gate.touch()
    assert ended(session).state == "COMPLETED"


def test_a_log_is_followed_through_attempts(grid: Grid, grid_url: str, tmp_path: Path) -> None:
    quickly = RetryPolicy(max_attempts=1000, backoff_base_seconds=0.01, backoff_cap_seconds=0.02)
    gate = tmp_path / "gate"
    session = grid.submit(fails_at_the_gate, of(gate, 2), retry=quickly)
    command = [str(Path(sys.executable).with_name("htcgrid")), "logs", session.id, "1", "--follow", "--url", grid_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stderr is not None
        told = ""
        while "1 is no good yet" not in told:
            line = follower.stderr.readline()
            assert line, told
            told += line
        gate.touch()
        out, _ = follower.communicate()
    assert follower.returncode == 0
    assert out.endswith("the end\n")
    assert out.count("the end") >= 2, "of an attempt that failed, and of the last"


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("", "abc", "abc"),
        ("abc", "abc", ""),
        ("abc", "abcd", "d"),
        ("abc", "bcd", "d"),
        ("bcd", "abcdef", "ef"),
        ("abc", "xyz", "...xyz"),
    ],
)
def test_what_is_new(before: str, now: str, new: str) -> None:
    assert new_part(before, now) == new
