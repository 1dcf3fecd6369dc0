"""``slots``, ``agents`` and ``idle`` of a URL: a grid grows to what is asked, never shrinks, and says what runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import UnknownGrid, connect
from htcgrid_core.local.address import parse_local
from htcgrid_core.local.agent_processes import agents_of
from htcgrid_core.local.agent_terms import RunningAgent
from htcgrid_core.local.fleet import Fleet, set_otherwise
from tests.e2e.command_line import CommandLine
from tests.e2e.support import directory_of, eventually, fresh_grid


def sizes(url: str) -> list[tuple[int | None, float | None]]:
    """Slots and idle time of each agent that runs."""
    return [(agent.slots, agent.idle_seconds) for agent in agents_of(directory_of(url))]


def test_a_grid_grows_to_what_is_asked_and_tells_what_is_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with fresh_grid(tmp_path / "grid", slots=1, idle=20) as url:
        with connect(url) as grid:
            assert list(grid.map(abs, [-1])) == [1]
        assert sizes(url) == [(1, 20)]
        place = url.partition("?")[0]
        with connect(f"{place}?slots=4&idle=90") as grid:
            running = grid.submit(time.sleep, [0.3] * 4)
            assert sizes(url) == [(1, 90), (3, 90)]
            running.wait()
            eventually(lambda: grid.measure().slots == 4, "agents have been heard of")
        assert not caplog.messages
        with connect(f"{place}?slots=2&idle=5") as grid:
            grid.submit(abs, [-1]).wait()
            grid.submit(abs, [-1]).wait()
        assert sizes(url) == [(1, 90), (3, 90)]
        (told,) = caplog.messages
        assert "4 slots in 2 agents, not 2, and agents that leave after 90 s without work, not after 5 s" in told
        assert "htcgrid down" in told
        caplog.clear()
        with connect(place) as grid:
            grid.submit(abs, [-1]).wait()  # who asks for nothing takes what is there
        assert sizes(url) == [(1, 90), (3, 90)]
        assert not caplog.messages


def test_doctor_and_up_say_what_runs(tmp_path: Path) -> None:
    with fresh_grid(tmp_path / "grid", slots=3, idle=30) as url:
        shell = CommandLine.in_folder(tmp_path / "work", url)
        assert "3 slots in 1 agent" in shell.call("up", "--detach").err
        other = url.replace("slots=3", "slots=1").replace("idle=30", "idle=30&agents=2")
        up = shell.run("up", "--detach", "--url", other)
        assert "runs with 3 slots in 1 agent, not 2" in up.err  # before the second comes
        assert "4 slots in 2 agents" in up.err
        findings = {one["check"]: one for one in shell.call("doctor", "--json", "--url", other).objects}
        assert findings["fleet"]["verdict"] == "warning"
        assert findings["fleet"]["message"] == "4 slots in 2 agents, not 2"


def test_settings_that_came_too_late_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with fresh_grid(tmp_path / "grid") as url:
        with connect(url) as grid:
            grid.submit(abs, [-1]).wait()
        monkeypatch.setenv("HTCGRID_WORKER_ENV", "MARKET_DATA")
        with connect(url) as grid:
            grid.submit(abs, [-1]).wait()
        (told,) = caplog.messages
        assert "no HTCGRID_WORKER_ENV, not 'MARKET_DATA'; `htcgrid down`" in told


def test_tasks_of_an_agent_in_the_foreground_may_submit(tmp_path: Path) -> None:
    """It stays for ever, which is no number of seconds that a URL could name."""
    shell = CommandLine.in_folder(tmp_path / "work", f"local://{tmp_path}/grid")
    agent = shell.start("agent", "--slots", "1")
    try:
        eventually(lambda: sizes(shell.url) == [(1, None)], "the agent runs")
        with connect(shell.url) as grid:
            assert list(grid.map(nested, [-1])) == [[1]]
    finally:
        agent.terminate()
        assert agent.wait() == 0


def nested(number: int) -> list[int]:
    with connect() as grid:
        return list(grid.map(abs, [number]))


def agents(*slots: int | None, idle: float | None = 60.0) -> list[RunningAgent]:
    return [RunningAgent(number, 100 + number, each, idle, {}) for number, each in enumerate(slots)]


@pytest.mark.parametrize(
    ("fleet", "running", "missing"),
    [
        (Fleet(slots=2), agents(), [2]),
        (Fleet(agents=3, slots=2), agents(), [2, 2, 2]),
        (Fleet(slots=8), agents(2), [6]),
        (Fleet(slots=8), agents(6), [2]),
        (Fleet(agents=2, slots=4), agents(2), [6]),
        (Fleet(agents=3, slots=3), agents(2), [4, 3]),
        (Fleet(agents=2, slots=2), agents(8), [2]),
        (Fleet(slots=2), agents(8), []),
        (Fleet(), agents(1), []),
        (Fleet(slots=4), agents(None), []),  # of a release that does not say
        (Fleet(agents=2, slots=4), agents(None), [4]),
    ],
)
def test_how_much_is_missing(fleet: Fleet, running: list[RunningAgent], missing: list[int]) -> None:
    assert fleet.missing(running) == missing


def test_what_is_more() -> None:
    assert Fleet(slots=2).excess(agents(2)) == ""
    assert Fleet(slots=2).excess(agents(1, 2)) == "3 slots in 2 agents, not 2"
    assert Fleet(agents=2).excess(agents(1, 1, 1)) == "3 agents, not 2"
    assert Fleet(idle=5).excess(agents(1, idle=None)) == "agents that stay without work, not after 5 s"
    assert Fleet(slots=2, idle=5).excess(agents(None)) == ""


def test_settings_of_those_that_run() -> None:
    one = RunningAgent(0, 1, 1, 60.0, {"HTCGRID_LEASE_SECONDS": "1", "HTCGRID_WORKER_ENV": "A,B"})
    assert set_otherwise([one], {"HTCGRID_WORKER_ENV": "B, A"}) == ""
    assert set_otherwise([one], {}) == ""
    assert set_otherwise([one], {"HTCGRID_WORKER_ENV": "B,C"}) == "HTCGRID_WORKER_ENV='A,B', not 'B,C'"
    assert set_otherwise([one, one], {"HTCGRID_LEASE_SECONDS": "2"}) == "HTCGRID_LEASE_SECONDS='1', not '2'"


def test_an_option_is_said_once() -> None:
    with pytest.raises(UnknownGrid, match="says more than once: slots"):
        parse_local("local:///grid?slots=2&idle=5&slots=4")


@pytest.mark.parametrize("wrong", [5, Path("/tmp/grid"), b"local://"])
def test_what_is_no_text(wrong: Any) -> None:
    with pytest.raises(UnknownGrid, match="a grid is named by a URL, as text"):
        connect(wrong)


def test_what_is_no_url_is_told_all_that_are() -> None:
    with pytest.raises(UnknownGrid, match="write local://, local:///PATH, aws://NAME or https://HOST"):
        connect("localhost")
