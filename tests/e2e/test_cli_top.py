"""``htcgrid top`` on a terminal of its own, and where there is none; logs of a whole session."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.command_line import PROGRAM, CommandLine
from tests.e2e.support import GUARD_SECONDS
from tests.served import key, serving

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()=>][A-Z0-9]?")


@pytest.fixture
def shell(url: str, tmp_path: Path) -> CommandLine:
    """A shell in a folder of this test's own."""
    return CommandLine.in_folder(tmp_path / "work", url)


class Terminal:
    """What runs on it, and what it has shown."""

    def __init__(self, fd: int, process: subprocess.Popen[bytes]) -> None:
        self._fd = fd
        self.process = process
        self.seen = ""

    def until(self, text: str) -> None:
        """Once this is shown, after what was waited for before."""
        deadline = time.monotonic() + GUARD_SECONDS
        while text not in self.seen:
            assert self.process.poll() is None or select.select([self._fd], [], [], 0)[0], (text, self.seen[-3000:])
            assert time.monotonic() < deadline, (text, self.seen[-3000:])
            if select.select([self._fd], [], [], 0.2)[0]:
                with suppress(OSError):  # its end
                    self.seen += ESCAPES.sub("", os.read(self._fd, 1 << 16).decode("utf-8", "replace"))
        self.seen = self.seen.partition(text)[2]

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._fd, keys.encode())


@contextmanager
def terminal(shell: CommandLine, *arguments: str) -> Iterator[Terminal]:
    """A command on a terminal of 120 columns."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "HTCGRID_URL": shell.url, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    process = subprocess.Popen(
        [PROGRAM, *arguments], cwd=shell.folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_keys_cancel_and_open_logs(shell: CommandLine) -> None:
    said = shell.session("mine.moody", "--range", "2", "--name", "talks", "--max-attempts", "1")
    shell.call("watch", said)
    waits = shell.call("submit", "mine.wait_for", "--events", "-", "--name", "waits", stdin='"never"').out.strip()
    with terminal(shell, "top") as screen:
        screen.until("htcgrid top")
        screen.until(waits)
        screen.press("/talks\r")
        screen.until("filter: talks (Esc drops it)")
        screen.press("l")
        screen.until("1  saw 1")
        screen.until(f"session {said} has ended")
        screen.press("x")
        screen.until("htcgrid top")
        screen.press("\x1b/waits\r")
        screen.until("filter: waits (Esc drops it)")
        screen.press("l")
        screen.until("q goes back")
        screen.press("q")
        screen.until("filter: waits (Esc drops it)")
        screen.press("c")
        screen.until(f"cancel? y/N  session {waits}; 1 task will not run")
        screen.press("y")
        screen.until(f"session {waits} is CANCELL")
        screen.press("\x1b/nobody has this\r")
        screen.until("no session is like that")
        screen.press("q")
        assert screen.process.wait(GUARD_SECONDS) == 0
    assert shell.call("watch", waits).code != 0
    status = shell.call("status", waits, "--json").object
    assert status["state"] == "CANCELLED"
    assert status["reason"] == "asked for in htcgrid top"


def test_who_may_not_see_agents_sees_sessions(
    shell: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = shell.call("submit", "mine.wait_for", "--events", "-", "--name", "waits", stdin='"never"').out.strip()
    reader = key("reader", "read")
    with serving(shell.url, tmp_path / "keys.json", keys=[reader]) as server:
        monkeypatch.setenv("HTCGRID_API_TOKEN", reader.secret)
        theirs = CommandLine(shell.folder, server.url)
        seen = theirs.call("top")
        assert waits in seen.out, seen.err
        assert "heard of" not in seen.out
        assert theirs.call("status", waits).code == 0
    shell.call("cancel", waits)


def test_where_there_is_no_terminal_it_is_told_once(shell: CommandLine) -> None:
    session = shell.session("mine.square", "--range", "2", "--name", "plain", "--wait")
    plain = shell.call("top")
    assert plain.code == 0
    assert session in plain.out
    assert "\x1b" not in plain.out
    told = shell.call("top", "--json").object
    assert told["newest"][0]["session"] == session
    assert {"tasks_per_second", "agents_alive"} <= told.keys()


def test_logs_of_a_whole_session(shell: CommandLine) -> None:
    session = shell.session("mine.moody", "--range", "2", "--max-attempts", "1")
    shell.call("watch", session)
    logs = shell.call("logs", session)
    assert sorted(logs.out.splitlines()) == ["0  saw 0", "1  saw 1"]
    assert "0  ValueError: no 0" in logs.err.splitlines()
    told = shell.call("logs", session, "--follow", "--json").objects
    assert sorted(task["index"] for task in told) == [0, 1]


def test_logs_of_a_session_are_followed_to_its_end(shell: CommandLine) -> None:
    gate = shell.folder / "gate"
    events = f'"{gate}"\n""'
    session = shell.call("submit", "mine.talk_then_wait", "--events", "-", stdin=events).out.strip()
    with terminal(shell, "logs", session, "--follow") as screen:
        screen.until("1  said something")
        gate.touch()
        screen.until("0  said something")
        assert screen.process.wait(GUARD_SECONDS) == 0
