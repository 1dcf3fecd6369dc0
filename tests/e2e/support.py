"""What the tests of this folder share: a grid for a while, scripts in processes of their own, waiting on facts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil

from htcgrid_core import Grid, Progress, Session
from htcgrid_core.local.address import parse_local
from htcgrid_core.local.agent_processes import running_agents, stop_agents
from htcgrid_core.local.directory import Directory
from tests.e2e.over_http import OPEN_HERE, SERVERS
from tests.planes import plane_of

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[2]
GUARD_SECONDS = 90.0  # only a test that would hang for ever notices it


@contextlib.contextmanager
def fresh_grid(folder: Path, **options: float | str) -> Iterator[str]:
    """The URL of a grid in ``folder``; at the end its sessions are cancelled and its agents gone."""
    query = "&".join(f"{name}={value}" for name, value in {"slots": 2, "idle": 20, **options}.items())
    try:
        yield f"local://{folder}?{query}"
    finally:
        SERVERS.end(folder)
        end_agents(Directory(folder))


def end_agents(directory: Directory) -> None:
    """Stop a grid's agents, whatever they are busy with."""
    if not directory.database.exists():
        return
    if running_agents(directory):
        with Grid(OPEN_HERE(f"local://{directory.root}")) as grid:
            for record in plane_of(grid).store.live_sessions():
                grid.session(record.session_id).cancel("the test is over")
    for pid in stop_agents(directory, timeout_seconds=10):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def directory_of(url: str) -> Directory:
    """The directory of a local grid."""
    return parse_local(url)[0]


def ended(session: Session) -> Progress:
    """Wait for the session's end, with a guard against waiting for ever."""
    return session.wait(timeout=GUARD_SECONDS)


def eventually(fact: Callable[[], T], what: str) -> T:
    """Wait until ``fact()`` is true, and return it."""
    deadline = time.monotonic() + GUARD_SECONDS
    while not (found := fact()):
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.01)
    return found


def the_agent(url: str) -> int:
    """The process id of the one agent that runs, once it does."""

    def alone() -> list[int]:
        pids = running_agents(directory_of(url))
        return pids if len(pids) == 1 else []

    return eventually(alone, "one agent runs")[0]


def kill_agents(url: str) -> None:
    """Kill the agents of a grid: they hand nothing back."""
    directory = directory_of(url)
    for pid in running_agents(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not running_agents(directory), "no agent runs")


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return psutil.Process(pid).status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except psutil.NoSuchProcess:
        return False


def start_script(path: Path, *arguments: str, python: str = sys.executable) -> subprocess.Popen[str]:
    """Run a Python script as a user would, in the folder it is in."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [python, path.name, *arguments],
        cwd=path.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(path: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run a Python script to its end."""
    process = start_script(path, *arguments, python=python)
    try:
        out, err = process.communicate(timeout=GUARD_SECONDS)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
