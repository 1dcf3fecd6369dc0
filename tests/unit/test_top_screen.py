"""``htcgrid top``: what keys do to what is shown."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console

from htcgrid_core.cli.live import Snapshot
from htcgrid_core.cli.terminal_keys import _keys
from htcgrid_core.cli.top_screen import Screen, Wanted
from htcgrid_core.client.progress import Progress
from htcgrid_core.domain.agent import AgentRecord, BegunTask
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.measurement import Measurement


def progress(session_id: str, name: str, *, ended: bool = False) -> Progress:
    state = SessionState.COMPLETED if ended else SessionState.RUNNING
    now = time.time()
    return Progress(
        session_id, name, state, 10, 10 if ended else 4, 0, 0, 0 if ended else 6, now, now if ended else None, ""
    )


@pytest.fixture
def screen() -> Screen:
    sessions = [progress("s-1", "book"), progress("s-2", "[/nope]\x1b[31m"), progress("s-3", "curves", ended=True)]
    load = Measurement({SessionState.RUNNING: 2}, 12, 1, 2, 1)
    return Screen(Snapshot(load, 3.5, sessions, []), labels={"s-3": {"Desk": "Rates"}})


def press(screen: Screen, keys: str) -> Wanted | None:
    wanted = None
    for key in _keys(keys):
        wanted = screen.press(key)
    return wanted


def text_of(screen: Screen, lines: int = 40, columns: int = 120) -> str:
    console = Console(width=columns, height=lines, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(screen.render("here", lines))
    return captured.get()


def marked(screen: Screen) -> str:
    assert screen.session is not None
    return screen.session.session_id


def test_arrows_choose_and_stay_within(screen: Screen) -> None:
    assert marked(screen) == "s-1"
    press(screen, "\x1b[B\x1b[B\x1b[B\x1b[B")
    assert marked(screen) == "s-3"
    press(screen, "k")
    assert marked(screen) == "s-2"
    screen.snapshot.sessions.insert(0, progress("s-0", "new"))
    assert marked(screen) == "s-2", "what comes does not move the mark"


def test_cancelling_asks_first(screen: Screen) -> None:
    assert press(screen, "c") is None
    assert "cancel? y/N  session s-1; 6 tasks will not run" in text_of(screen)
    assert press(screen, "q") is None, "every other key is a no"
    assert "session s-1 goes on" in text_of(screen)
    assert press(screen, "c") is None
    screen.snapshot.sessions.insert(0, progress("s-0", "new"))
    assert press(screen, "y") is Wanted.CANCEL
    assert screen.chosen == "s-1", "that which was asked about"


def test_what_has_ended_is_not_cancelled(screen: Screen) -> None:
    press(screen, "jjc")
    assert press(screen, "y") is None
    assert "session s-3 has ended" in text_of(screen)


@pytest.mark.parametrize(
    ("typed", "left"), [("curv", "s-3"), ("desk=rat", "s-3"), ("completed", "s-3"), ("S-2", "s-2")]
)
def test_a_filter(screen: Screen, typed: str, left: str) -> None:
    assert press(screen, f"/{typed}x\x7f\r") is None
    assert [one.session_id for one in screen.sessions] == [left]
    press(screen, "\x1b")
    assert len(screen.sessions) == 3
    press(screen, "/nothing like it\r")
    assert screen.session is None
    assert press(screen, "l") is press(screen, "c") is None
    assert "no session is like that" in text_of(screen)
    assert press(screen, "q") is Wanted.QUIT


def test_texts_are_no_markup_and_no_escapes(screen: Screen) -> None:
    begun = (BegunTask("s-1", 7, time.time()),)
    agents = [AgentRecord("a-1", "default", "[bold]host", 1, 2, 1, time.time(), begun=begun)]
    screen.snapshot = replace(screen.snapshot, agents=agents)
    seen = text_of(screen)
    assert "[/nope]" in seen
    assert "\x1b[31m" not in seen
    assert "[bold]host" in seen
    assert "s-1/7" in seen


def test_what_agents_use_and_how_old_they_are(screen: Screen) -> None:
    now = time.time()
    old = AgentRecord("a-old", "default", "host", 1, 2, 1, now)
    new = replace(
        old, agent_id="a-new", started_at=now - 7500, memory_bytes=412 << 20, memory_limit_bytes=15 << 30,
        begun=(BegunTask("s-1", 7, now, slot=1), BegunTask("s-2", 8, now, slot=0)),
    )  # fmt: skip
    screen.snapshot = replace(screen.snapshot, agents=[old, new])
    lines = text_of(screen).splitlines()
    (heading,) = [line for line in lines if "heard of" in line]
    assert re.search("slots +memory +age +runs +heard of", heading)
    (of_new,) = [line for line in lines if "a-new" in line]
    assert re.search(r"412 MiB of 15 GiB +2 h 05 m +s-2/8, s-1/7", of_new), "by slot"
    (of_old,) = [line for line in lines if "a-old" in line]
    assert re.search(r"unknown +unknown", of_old), "what an agent of an earlier release does not tell"
    narrow = text_of(screen, columns=46)
    assert "memory" not in narrow, "it gives way to what they run"
    assert "s-2/8" in narrow


def test_what_is_marked_is_seen_on_a_small_terminal(screen: Screen) -> None:
    screen.snapshot.sessions[:] = [progress(f"s-{n}", "") for n in range(100)]
    screen.chosen = "s-77"
    seen = text_of(screen, lines=15)
    assert re.search("▸ +s-77", seen)
    assert len(seen.splitlines()) <= 15


@pytest.mark.parametrize(("columns", "lines"), [(40, 12), (40, 9), (24, 24)])
def test_what_is_asked_is_seen_on_a_narrow_terminal(screen: Screen, columns: int, lines: int) -> None:
    """However much else there is to say."""
    screen.snapshot.problems[:] = [f"agent a-{n}: its package of an environment cannot be unpacked" for n in range(99)]
    screen.snapshot.sessions[:] = [progress(f"s-{n}", "") for n in range(100)]
    agents = [AgentRecord(f"a-{n}", "default", "host", 1, 2, 1, time.time()) for n in range(99)]
    screen.snapshot = replace(screen.snapshot, agents=agents)
    press(screen, "jc")
    seen = text_of(screen, lines, columns).splitlines()
    assert len(seen) <= lines
    assert "▸" in "".join(seen)
    assert seen[-1].startswith("cancel? y/N  session s-")


def test_what_cannot_be_read_is_said(screen: Screen) -> None:
    screen.trouble = "the grid cannot be read now"
    assert "the grid cannot be read now   ↑↓ choose" in text_of(screen)


def test_a_logs_key_is_for_what_is_marked(screen: Screen) -> None:
    assert press(screen, "jl") is Wanted.LOGS
    assert marked(screen) == "s-2"
