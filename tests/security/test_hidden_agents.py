"""An agent's environment and memory, with credentials and the grid's key, are not for its handlers to read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from htcgrid_core.cloud import agent as cloud_agent
from htcgrid_core.cloud.address import Address
from tests.e2e.support import fresh_grid
from tests.runtimes.conftest import FUNCTIONS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can hide a process from its own user")

CANARY = "canary-7e1d40"

SUBMIT = """
import json, os, sys
from htcgrid_core import connect

def opened(event):
    found = {}
    for name, pid in [("agent", os.getppid()), ("submitter", event), ("itself", os.getpid())]:
        for what in ("environ", "mem", "maps", "auxv"):
            try:
                open(f"/proc/{pid}/{what}", "rb").close()
                found[f"{name} {what}"] = "opened"
            except OSError as error:
                found[f"{name} {what}"] = type(error).__name__
    return found

with connect(sys.argv[1]) as grid:
    print(json.dumps(list(grid.submit(opened, [os.getpid()]).results())))
    grid.deploy("app", sys.argv[2], runtime="provided.al2023")
    print(json.dumps(list(grid.submit("app", [{"n": 1}]).results())))
"""


def as_any_user() -> list[str]:
    """A command before others: without root's right to look into every process."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may read everything, and there is no setpriv to give that up")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def test_a_handler_cannot_read_its_agent(tmp_path: Path) -> None:
    """It can read other processes of its user, and itself. The agent can see whose its workers' connections are."""
    with fresh_grid(tmp_path / "grid") as url:
        done = subprocess.run(
            [*as_any_user(), sys.executable, "-c", SUBMIT, url, str(FUNCTIONS / "shell")],
            env={**os.environ, "AWS_SECRET_ACCESS_KEY": CANARY},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    (found,), echoed = map(json.loads, done.stdout.splitlines())
    assert {what for name, what in found.items() if name.startswith("agent")} == {"PermissionError"}
    assert {what for name, what in found.items() if not name.startswith("agent")} == {"opened"}
    assert echoed == [{"n": 1}]


HIDDEN = """
import ctypes, subprocess, sys
from htcgrid_core.agent.privacy import hide

def dumpable():
    return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)

before = dumpable()
hide()
child = subprocess.run([sys.executable, "-c", "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"],
                       capture_output=True, text=True)
print(before, dumpable(), child.stdout.strip())
"""


def test_what_a_hidden_process_starts_is_not_hidden() -> None:
    """Or handlers could not read themselves, nor agents whose a worker's connection is."""
    done = subprocess.run([sys.executable, "-c", HIDDEN], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "0", "1"], done.stderr


class Hidden(Exception):
    """It was."""


def test_agents_on_aws_are_hidden_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def hide() -> None:
        raise Hidden

    monkeypatch.setattr(cloud_agent, "hide", hide)
    monkeypatch.setattr(cloud_agent, "open_cloud", None)
    with pytest.raises(Hidden):
        cloud_agent.serve(Address("book"), slots=1, pool="default")
