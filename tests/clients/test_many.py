"""A million tasks by the clients in Go and Java: submitted, waited for and read in bounded memory, on both sides."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from htcgrid_core.testing.handlers import task
from tests.clients.conftest import folder_of
from tests.clients.test_go import OFFLINE
from tests.served import Server

TASKS = int(os.environ.get("HTCGRID_TEST_TASKS", "1_000_000"))  # fewer for a look
FEW = 20_000  # in one part already
MOST_MB = 100.0  # that either side may take for all of them more than for few
HEAP = "-Xmx64m"  # what a Java program does not need, it takes all the same
HANDLER = f"{task.__module__}.{task.__name__}"


def _peak_mb(pid: int) -> float:
    """The most memory that a process had; 0.0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _ran(command: list[str], tasks: int, server: Server, environment: Mapping[str, str]) -> tuple[float, float]:
    """Run a client's example, and check its sum; the most memory that it and the server had (MB)."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the server's peak is that of this run
    client = subprocess.Popen(
        [*command, server.url, HANDLER, str(tasks)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    peak = 0.0
    while True:
        peak = max(peak, _peak_mb(client.pid))
        try:
            said, failure = client.communicate(timeout=0.05)
            break
        except subprocess.TimeoutExpired:
            continue
    assert client.returncode == 0, failure
    assert said.startswith(f"{tasks} results, sum {tasks * (tasks - 1)};"), said
    there = _peak_mb(server.process.pid)
    print(f"\n{Path(command[0]).name}, {tasks:,} tasks: {said.strip()}; client {peak:.0f} MB, server {there:.0f} MB")
    return peak, there


def _check(command: list[str], server: Server, environment: Mapping[str, str]) -> None:
    few, many = (_ran(command, tasks, server, environment) for tasks in (FEW, TASKS))
    for side, before, after in zip(("client", "server"), few, many, strict=True):
        assert after - before < MOST_MB, f"the {side} takes {after - before:.0f} MB more"


@pytest.mark.slow
def test_many_by_go(go: str, server: Server, environment: Mapping[str, str], tmp_path: Path) -> None:
    program = str(tmp_path / "many")
    command = [go, "build", "-o", program, "./examples/many"]
    subprocess.run(command, cwd=folder_of("go"), env={**environment, **OFFLINE}, check=True)
    _check([program], server, environment)


@pytest.mark.slow
def test_many_by_java(classes: Path, server: Server, environment: Mapping[str, str]) -> None:
    _check(["java", HEAP, "-cp", str(classes), "Many"], server, environment)
