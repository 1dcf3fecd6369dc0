"""Running the embedded grid by hand: up and its console, down, a foreground agent, one tick of the reconciler."""

from __future__ import annotations

import http.client
import json
import os
import pty
import signal
import subprocess
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest

from htcgrid_core import connect
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.local.agent_processes import running_agents
from tests.e2e.command_line import PROGRAM, CommandLine
from tests.e2e.support import directory_of, eventually, fresh_grid, the_agent
from tests.manual_agent import submit
from tests.planes import plane_of


@pytest.fixture
def cli(grid_url: str, tmp_path: Path) -> CommandLine:
    """A shell with a grid of its own."""
    return CommandLine.in_folder(tmp_path / "work", grid_url)


def line_with(stream: IO[str] | None, text: str) -> str:
    """Read lines up to the one that has ``text`` in it."""
    assert stream is not None
    for line in stream:
        if text in line:
            return line
    raise AssertionError(f"the output ended without {text!r}")


def test_up_detached_and_down(cli: CommandLine, grid_url: str) -> None:
    up = cli.call("up", "--detach", "--json").object
    assert up["agents"] == [the_agent(grid_url)]
    assert cli.call("up", "--detach", "--json").object == up, "it is up already"
    assert cli.call("down", "--json").object == {"stopped": up["agents"], "left": []}
    assert running_agents(directory_of(grid_url)) == []


def test_the_console_shows_what_happens_until_ctrl_c(cli: CommandLine, grid_url: str) -> None:
    console = cli.start("up")
    line_with(console.stdout, "1 agent, 0 of 2 slots busy at the last heartbeat")
    assert cli.call("submit", "mine.square", "--range", "5", "--wait").code == 0
    line_with(console.stdout, "no live sessions; 0 tasks pending")
    console.send_signal(signal.SIGINT)
    out, err = console.communicate()
    assert console.returncode == 0
    assert "without work they leave after 20 s" in err
    assert "Traceback" not in out + err
    the_agent(grid_url)  # it stays


def test_the_console_brings_back_an_agent_that_died(cli: CommandLine, grid_url: str) -> None:
    console = cli.start("up", "--json")
    try:
        line_with(console.stdout, '"agents": 1')
        first = the_agent(grid_url)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: (now := running_agents(directory_of(grid_url))) and now != [first], "another agent came")
    finally:
        console.kill()
        console.communicate()


def test_the_console_on_a_terminal(cli: CommandLine) -> None:
    screen, theirs = pty.openpty()
    console = subprocess.Popen(
        [PROGRAM, "up"],
        cwd=cli.folder,
        env={**os.environ, "HTCGRID_URL": cli.url, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    while b"Ctrl-C closes this console" not in seen:
        seen += os.read(screen, 1 << 16)
    console.send_signal(signal.SIGINT)
    while b"console closed" not in seen:
        seen += os.read(screen, 1 << 16)
    os.close(screen)
    assert console.wait() == 0
    assert b"slots busy" in seen


def test_a_progress_bar_on_a_terminal(cli: CommandLine) -> None:
    screen, theirs = pty.openpty()
    watching = subprocess.Popen(
        [PROGRAM, "submit", "mine.square", "--range", "5", "--name", "[/b] a name", "--wait"],
        cwd=cli.folder,
        env={**os.environ, "HTCGRID_URL": cli.url, "TERM": "xterm", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while b"COMPLETED" not in seen:
        seen += os.read(screen, 1 << 16)
    assert watching.wait() == 0
    os.close(screen)
    assert b"5/5" in seen
    assert b"[/b] a name" in seen, "a name is not markup"


def test_up_serves_the_api_while_its_console_is_open(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTCGRID_API_KEY_FILE", str(tmp_path / "keys.json"))
    console = cli.start("up", "--json", "--api", "--api-port", "0")
    assert console.stdout is not None
    address = urlsplit(json.loads(console.stdout.readline())["url"])
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()
    line_with(console.stdout, "agents")
    console.send_signal(signal.SIGINT)
    assert console.wait(60) == 0
    with pytest.raises(ConnectionRefusedError):
        connection.connect()
    assert cli.call("up", "--api", "--detach").code == 2


def test_down_that_does_not_wait_says_who_still_drains(cli: CommandLine, grid_url: str) -> None:
    (cli.folder / "events.jsonl").write_text('"gate"\n')
    session = cli.session("mine.wait_for", "--events", "events.jsonl")
    eventually(lambda: (cli.folder / "gate.begun").exists(), "the task runs")
    agent = the_agent(grid_url)
    down = cli.call("down", "--timeout", "0.1", "--json")
    assert (down.code, down.object) == (5, {"stopped": [], "left": [agent]})
    (cli.folder / "gate").touch()
    eventually(lambda: not running_agents(directory_of(grid_url)), "the agent ended after its task")
    assert cli.call("status", session, "--json").object["state"] == "COMPLETED"


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_in_the_foreground_drains(tmp_path: Path, sign: signal.Signals) -> None:
    with fresh_grid(tmp_path / "grid") as url:
        cli = CommandLine.in_folder(tmp_path / "work", url)
        agent = cli.start("agent", "--slots", "1")
        assert the_agent(url) == agent.pid
        (cli.folder / "events.jsonl").write_text('"gate"\n"gate"\n')
        session = cli.session("mine.wait_for", "--events", "events.jsonl")
        eventually(lambda: (cli.folder / "gate.begun").exists(), "a task runs")
        agent.send_signal(sign)
        (cli.folder / "gate").touch()
        out, err = agent.communicate()
        assert (agent.returncode, out) == (0, "")
        assert "with 1 slots" in err
        assert "Traceback" not in err
        ended = cli.call("status", session, "--json").object
        assert (ended["completed"], ended["failed"]) in {(1, 0), (2, 0)}, "the running task ended, none failed"


def test_an_idle_agent_in_the_foreground_leaves_only_if_told_to(cli: CommandLine, grid_url: str) -> None:
    leaving = cli.start("agent", "--idle", "0.1", "--json")
    out, _ = leaving.communicate()
    assert leaving.returncode == 0
    assert '"slots": 2' in out
    assert running_agents(directory_of(grid_url)) == []


def test_two_agents_in_the_foreground_share_a_grid(cli: CommandLine, grid_url: str) -> None:
    agents = [cli.start("agent", "--slots", "1") for _ in range(2)]
    with connect(grid_url) as grid:
        eventually(lambda: grid.measure().slots == 2, "both work")
    assert set(running_agents(directory_of(grid_url))) == {agent.pid for agent in agents}
    for agent in agents:
        agent.terminate()
    assert [agent.wait() for agent in agents] == [0, 0]
    for agent in agents:
        agent.communicate()


def test_load_says_how_many_slots_are_wanted(cli: CommandLine, grid_url: str) -> None:
    with connect(grid_url) as grid:  # below what wakes agents
        plane = plane_of(grid)
        submit(plane, "s-waiting", SessionSpec(function=FunctionSpec(name="json.loads")), [1] * 7, idempotent=False)
    load = cli.call("load", "--json").object
    assert (load["agents"], load["pending"]) == (0, 7)
    normal = next(demand for demand in load["demand"] if demand["priority"] == "normal")
    assert (normal["pool"], normal["tasks"], normal["slots_wanted"]) == ("default", 7, 7)  # of unknown length
    assert "slots wanted" in cli.call("load").out


def test_reconcile_ends_what_nobody_else_does(cli: CommandLine, grid_url: str) -> None:
    with connect(grid_url) as grid:  # below what wakes agents
        plane = plane_of(grid)
        spec = SessionSpec(function=FunctionSpec(name="json.loads"), timeout_seconds=0.001)
        submit(plane, "s-waiting", spec, [1], idempotent=False)
    assert cli.call("status", "s-waiting", "--json").object["state"] == "RUNNING"
    assert cli.call("reconcile", "--json").object["ended"] == 1
    assert cli.call("status", "s-waiting", "--json").object["state"] == "FAILED"
    assert running_agents(directory_of(grid_url)) == []
