"""Agents come, leave, drain, are killed and are stopped; sessions end all the same, and nothing runs without need."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from htcgrid_core import Grid, GridUnavailable, InvalidInput, RetryPolicy, WaitTimeout, connect
from htcgrid_core.cli.main import cli
from htcgrid_core.domain import limits
from htcgrid_core.local.agent_processes import ensure_agents, running_agents, stop_agents
from htcgrid_core.local.fleet import Fleet
from htcgrid_core.local.settings import AgentTimes
from htcgrid_core.ports.session_store import AgentRecord
from tests.e2e.support import (
    directory_of,
    ended,
    eventually,
    fresh_grid,
    is_alive,
    kill_agents,
    run_script,
    the_agent,
)
from tests.planes import plane_of

GATE, DOUBLE, WHERE, HOLD = (f"tests.e2e.handlers.{name}" for name in ("gate", "double", "where", "hold"))
HELD = 100 << 20


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents of this test give up on each other soon."""
    monkeypatch.setenv("HTCGRID_LEASE_SECONDS", "1")


def starts(file: Path) -> Counter[int]:
    """How often each task has begun."""
    return Counter(int(line.split()[1]) for line in file.read_text().splitlines()) if file.exists() else Counter()


def gated(folder: Path, size: int, gates: int) -> list[dict[str, object]]:
    """Events of which the first ``gates`` wait at a gate; all note their start."""
    (folder / "open").touch()
    noted = str(folder / "noted")
    return [{"n": n, "file": noted, "gate": str(folder / ("gate" if n < gates else "open"))} for n in range(size)]


# Drain


def test_a_drained_agent_finishes_what_runs_and_hands_back_the_rest(grid: Grid, grid_url: str, tmp_path: Path) -> None:
    session = grid.submit(GATE, gated(tmp_path, 40, gates=2), bundle_size=20)
    eventually(lambda: len(starts(tmp_path / "noted")) == 2, "two tasks run")
    agent = the_agent(grid_url)
    os.kill(agent, signal.SIGTERM)
    eventually(lambda: len(list(session.tasks(state="QUEUED"))) == 38, "what has not begun is handed back")
    assert is_alive(agent)
    (tmp_path / "gate").touch()
    eventually(lambda: not is_alive(agent), "the agent has left")
    assert session.progress().completed == 2
    assert len(starts(tmp_path / "noted")) == 2
    assert ended(session).state == "COMPLETED"  # whoever waits brings another agent
    assert list(session.results()) == list(range(40))
    assert starts(tmp_path / "noted") == dict.fromkeys(range(40), 1)
    assert {task.attempts for task in session.tasks()} == {1}
    assert len({task.agent for task in session.tasks()}) == 2


def test_what_outlasts_the_grace_time_is_killed_and_handed_back(
    grid: Grid, grid_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTCGRID_DRAIN_GRACE_SECONDS", "0.3")
    session = grid.submit(GATE, gated(tmp_path, 20, gates=2), bundle_size=20)
    eventually(lambda: len(starts(tmp_path / "noted")) == 2, "two tasks run")
    agent = the_agent(grid_url)
    os.kill(agent, signal.SIGTERM)
    eventually(lambda: not is_alive(agent), "the agent has left")
    assert Counter(task.state for task in session.tasks()) == {"QUEUED": 20}
    (tmp_path / "gate").touch()
    grid.wake()
    assert ended(session).state == "COMPLETED"
    assert list(session.results()) == list(range(20))
    assert starts(tmp_path / "noted") == {n: 2 if n < 2 else 1 for n in range(20)}


def test_draining_loses_nothing_of_a_busy_session(grid: Grid, grid_url: str) -> None:
    """Many short tasks, and agents that are told to leave again and again."""
    session = grid.submit(DOUBLE, range(20_000))
    finished = threading.Event()

    def drain_again_and_again() -> None:
        while not finished.wait(0.05):
            for pid in running_agents(directory_of(grid_url)):
                os.kill(pid, signal.SIGTERM)

    drainer = threading.Thread(target=drain_again_and_again)
    drainer.start()
    try:
        eventually(lambda: session.progress().completed, "a task is completed")
    finally:
        finished.set()
        drainer.join()
    assert ended(session).state == "COMPLETED"
    assert list(session.results()) == [2 * n for n in range(20_000)]
    assert {task.attempts for task in session.tasks()} == {1}


def test_a_stopped_grid_can_be_used_again(grid: Grid, grid_url: str) -> None:
    for _ in range(3):
        assert list(grid.submit(DOUBLE, [1]).results()) == [2]
        assert stop_agents(directory_of(grid_url)) == []
        assert running_agents(directory_of(grid_url)) == []


# Idle


def test_an_idle_agent_leaves_and_the_next_submit_brings_another(tmp_path: Path) -> None:
    with fresh_grid(tmp_path / "grid", idle=0.2) as url, connect(url) as grid:
        first = grid.submit(WHERE, [0])
        (before,) = first.results()
        eventually(lambda: not running_agents(directory_of(url)), "the agent has left")
        eventually(lambda: not is_alive(before["parent"]), "its process has ended")
        eventually(lambda: not is_alive(before["pid"]), "so have its workers")
        (after,) = grid.submit(WHERE, [0]).results()
        assert after["parent"] != before["parent"]


def test_an_agent_with_a_live_session_does_not_leave(tmp_path: Path) -> None:
    """One task waits an hour for its retry: its session is live, if nothing runs."""
    with fresh_grid(tmp_path / "grid", idle=0.1) as url, connect(url) as grid:
        retry = RetryPolicy(max_attempts=2, backoff_base_seconds=3600, backoff_cap_seconds=3600)
        session = grid.submit("tests.e2e.handlers.fail_odd", [1], retry=retry)
        eventually(lambda: list(session.tasks(state="RETRY")), "the task waits for its retry")
        agent = the_agent(url)
        for _ in range(3):  # three other sessions come and go, each longer than it would be idle
            grid.submit("tests.e2e.handlers.sleep", [{"seconds": 0.2}]).wait()
        assert the_agent(url) == agent


# Killed and stopped


def test_a_killed_agent_is_replaced_while_a_client_waits(
    grid: Grid, grid_url: str, tmp_path: Path, short_leases: None
) -> None:
    session = grid.submit(GATE, gated(tmp_path, 30, gates=2), bundle_size=10)
    eventually(lambda: len(starts(tmp_path / "noted")) == 2, "two tasks run")
    workers = [int(line.split()[0]) for line in (tmp_path / "noted").read_text().splitlines()]
    killed = the_agent(grid_url)
    kill_agents(grid_url)
    eventually(lambda: not any(map(is_alive, workers)), "its workers die with it")
    (tmp_path / "gate").touch()
    assert ended(session).state == "COMPLETED"
    assert list(session.results()) == list(range(30))
    assert the_agent(grid_url) != killed
    attempts = {task.index: task.attempts for task in session.tasks()}
    assert attempts[0] == attempts[1] == 2
    assert set(attempts.values()) <= {1, 2}


def test_a_stopped_agent_loses_its_lease_and_its_late_result(tmp_path: Path, short_leases: None) -> None:
    """The zombie's worker finishes while the zombie sleeps; what it brings home is not wanted any more."""
    with fresh_grid(tmp_path / "grid", agents=3, slots=1) as url, connect(url) as grid:
        noted, gate, last_gate = tmp_path / "noted", tmp_path / "gate", tmp_path / "last gate"
        events = [{"n": n, "gate": str(gate if n < 2 else last_gate), "file": str(noted)} for n in range(3)]
        session = grid.submit("tests.e2e.handlers.who_at_gate", events, bundle_size=1)
        eventually(lambda: len(starts(noted)) == 3, "each agent runs a task")
        eventually(lambda: len(list(session.tasks(state="RUNNING"))) == 3, "each agent tells so")
        running = {task.index: task.agent for task in session.tasks(state="RUNNING")}
        zombie, other = running[0], running[1]
        os.kill(agents_of(grid)[zombie].pid, signal.SIGSTOP)
        try:
            gate.touch()
            eventually(lambda: session.progress().completed == 2, "the other agent has done both")
            before = {task.index: task.result for task in session.tasks(state="COMPLETED")}
        finally:
            os.kill(agents_of(grid)[zombie].pid, signal.SIGCONT)
        for _ in range(3):  # it lives again, and has handled what its worker had sent
            beat = agents_of(grid)[zombie].beat_at
            eventually(lambda seen=beat: agents_of(grid)[zombie].beat_at > seen, "the zombie's heart beats")  # type: ignore[misc]
        assert session.progress().completed == 2
        last_gate.touch()
        assert ended(session).state == "COMPLETED"
        tasks = sorted(session.tasks(), key=lambda task: task.index)
        assert [task.index for task in tasks] == [0, 1, 2]
        assert [task.agent for task in tasks[:2]] == [other, other]
        assert [task.attempts for task in tasks[:2]] == [2, 1]
        assert {task.index: task.result for task in tasks[:2]} == before
        assert list(grid.submit(DOUBLE, range(50)).results()) == [2 * n for n in range(50)]


def agents_of(grid: Grid) -> dict[str, AgentRecord]:
    """What agents last said of themselves."""
    return {agent.agent_id: agent for agent in plane_of(grid).store.agents(plane_of(grid).clock.now())}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_what_an_agent_and_its_workers_use_is_told(grid: Grid, tmp_path: Path, short_leases: None) -> None:
    """Of all of them together, and of the slot that holds it; less when its worker has let go of it."""
    began = time.time()
    gate = tmp_path / "gate"
    session = grid.submit(HOLD, [{"n": 1, "bytes": HELD, "gate": str(gate)}])

    def holding() -> AgentRecord | None:
        for agent in agents_of(grid).values():
            if agent.begun and (agent.memory_bytes or 0) > (agent.begun[0].memory_bytes or 0) > HELD:
                return agent  # at a heartbeat before, its worker may have been about to take it
        return None

    told = eventually(holding, "the agent tells what its worker holds")
    assert told is not None
    assert told.begun is not None
    (task,) = told.begun
    assert (task.session_id, task.slot) == (session.id, 0)
    assert task.memory_bytes is not None
    assert told.memory_bytes is not None
    assert told.memory_limit_bytes is not None
    assert HELD < task.memory_bytes < told.memory_bytes <= task.memory_bytes + 2 * HELD
    assert told.memory_bytes < told.memory_limit_bytes
    assert told.started_at is not None
    assert began - 1 <= told.started_at <= told.beat_at
    gate.touch()
    ended(session)
    rest = eventually(
        lambda: [agent for agent in agents_of(grid).values() if (agent.memory_bytes or HELD) < HELD], "it is let go of"
    )
    assert rest[0].agent_id == told.agent_id
    assert rest[0].started_at == told.started_at


@pytest.mark.parametrize("bundle_size", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_a_task_that_kills_agents_is_found_and_fails_alone(
    grid: Grid, tmp_path: Path, short_leases: None, bundle_size: int
) -> None:
    noted = tmp_path / "noted"
    events = [{"n": n, "poison": n == 3, "file": str(noted)} for n in range(8)]
    session = grid.submit("tests.e2e.handlers.kill_agent", events, bundle_size=bundle_size)
    progress = ended(session)
    assert (progress.state, progress.completed, progress.failed) == ("FAILED", 7, 1)
    (task,) = session.tasks(state="FAILED")
    assert task.index == 3
    assert task.error is not None
    assert task.error.type == "AgentLost"
    assert f"{limits.CRASH_LIMIT} agents ended or vanished" in task.error.message
    assert starts(noted)[3] == limits.CRASH_LIMIT
    assert list(grid.submit(DOUBLE, [1]).results()) == [2]


@pytest.mark.slow
def test_a_session_whose_folder_is_gone_ends_with_that_reason(grid: Grid, grid_url: str, tmp_path: Path) -> None:
    """And holds up no other: its place is its own trouble."""
    blockers = grid.submit(GATE, gated(tmp_path, 2, gates=2), bundle_size=1)
    eventually(lambda: len(starts(tmp_path / "noted")) == 2, "both slots are taken")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "script.py").write_text(
        "import sys\nfrom htcgrid_core import connect, RetryPolicy\n"
        "retry = RetryPolicy(backoff_base_seconds=0)\n"
        "print(connect(sys.argv[1]).submit('tests.e2e.handlers.where', range(4), retry=retry).id)\n"
    )
    done = run_script(folder / "script.py", grid_url)
    assert done.returncode == 0, done.stderr
    folder.rename(tmp_path / "away")
    other = grid.submit(DOUBLE, range(4))
    (tmp_path / "gate").touch()
    ended(blockers)
    session = grid.session(done.stdout.strip())
    assert ended(session).state == "FAILED"
    for task in session.tasks(state="FAILED"):
        assert task.error is not None
        assert task.error.type == "InitError"
        assert f"submitted from, {folder}, is gone" in task.error.message
    assert ended(other).state == "COMPLETED"


# Starting


def test_those_who_look_for_an_agent_do_not_keep_it_from_starting(grid_url: str) -> None:
    directory = directory_of(grid_url)
    connect(grid_url).close()  # makes the directory
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.001):
            assert os.getpid() not in running_agents(directory)

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(2):
            ensure_agents(directory, Fleet(agents=2, slots=1, idle=20))
            assert len(eventually(lambda: running_agents(directory), "agents run")) == 2
            assert stop_agents(directory) == []
    finally:
        stop.set()
        for looker in lookers:
            looker.join()


def test_an_agent_that_cannot_start_is_told_with_its_log(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, grid_url: str
) -> None:
    monkeypatch.setenv("HTCGRID_LEASE_SECONDS", "soon")
    with pytest.raises(GridUnavailable, match="HTCGRID_LEASE_SECONDS: Input should be a valid number") as caught:
        grid.submit(DOUBLE, [1])
    (session,) = grid.sessions()
    assert session.id in str(caught.value)  # it was submitted, and waits for an agent
    monkeypatch.delenv("HTCGRID_LEASE_SECONDS")
    grid.wake()
    assert ended(session).state == "COMPLETED"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"HTCGRID_LEASE_SECONDS": "0.5"}, "HTCGRID_LEASE_SECONDS"),
        ({"HTCGRID_LEASE_SECONDS": "inf"}, "HTCGRID_LEASE_SECONDS"),
        ({"HTCGRID_LEASE_SECONDS": "nan"}, "HTCGRID_LEASE_SECONDS"),
        ({"HTCGRID_DRAIN_GRACE_SECONDS": "-1"}, "HTCGRID_DRAIN_GRACE_SECONDS"),
        ({"HTCGRID_DRAIN_GRACE_SECONDS": "31"}, "must not be above the lease of 30 s"),
        ({"HTCGRID_LEASE_SECONDS": "5", "HTCGRID_DRAIN_GRACE_SECONDS": "6"}, "must not be above the lease of 5 s"),
    ],
)
def test_agent_times_that_contradict_each_other_are_refused(environment: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        AgentTimes.from_environment(environment)


@pytest.mark.parametrize("lease", [None, "1", "7.5", "30", "3600"])
def test_agent_times_keep_their_proportions(lease: str | None) -> None:
    environment = {} if lease is None else {"HTCGRID_LEASE_SECONDS": lease}
    settings = AgentTimes.from_environment(environment).settings()
    assert settings.lease_seconds == (limits.LEASE_SECONDS if lease is None else float(lease))
    assert settings.heartbeat_seconds * 3 <= settings.lease_seconds - settings.lease_margin_seconds
    assert settings.drain_grace_seconds <= settings.lease_seconds
    if lease is None:
        assert settings.heartbeat_seconds == limits.HEARTBEAT_SECONDS
        assert settings.lease_margin_seconds == limits.LEASE_MARGIN_SECONDS
        assert settings.drain_grace_seconds == limits.DRAIN_GRACE_SECONDS


def test_who_waits_is_told_what_keeps_agents_from_working(grid: Grid, tmp_path: Path) -> None:
    """By the error of a wait whose time is over, and by ``htcgrid status``."""
    session = grid.submit(GATE, gated(tmp_path, 1, gates=1))
    plane = plane_of(grid)
    troubled = AgentRecord("troubled", "default", "host", 1, 2, 0, plane.clock.now(), "too many open files")
    plane.store.beat(troubled)
    try:
        with pytest.raises(WaitTimeout, match="agent troubled: too many open files"):
            session.wait(timeout=0)
        with pytest.raises(WaitTimeout, match="agent troubled: too many open files"):
            list(session.as_completed(timeout=0))
        shown = CliRunner().invoke(cli, ["status", session.id, "--url", grid.url])
        assert "too many open files" in shown.output
    finally:
        plane.store.forget_agent("troubled")
        (tmp_path / "gate").touch()
    assert ended(session).state == "COMPLETED"
