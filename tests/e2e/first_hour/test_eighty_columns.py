"""Tables on a terminal of 80 columns; sessions by the beginnings of their ids and by their names."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import click
import pytest
from rich.console import Console

from htcgrid_core import InvalidInput, SessionNotFound, connect
from htcgrid_core.cli.main import cli
from htcgrid_core.cli.rows import Rows
from htcgrid_core.client.progress_bar import Bar
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import Counters, SessionRecord
from tests.e2e.command_line import CommandLine

LONG_NAME = "the evening's book of rates and credit, all desks"


@pytest.fixture(scope="module")
def sessions(shell: CommandLine) -> dict[str, str]:
    """A session that completed, one that failed and two of one name."""
    ids = {"book": shell.session("mine.square", "--range", "3", "--name", "book", "--wait")}
    moody = ("mine.moody", "--range", "300", "--max-attempts", "1", "--label", "desk=rates", "--tenant", "rates")
    assert shell.call("submit", *moody, "--name", LONG_NAME, "--wait").code == 1
    ids["long"] = shell.call("sessions", "--json", "--state", "FAILED").object["session"]
    ids["twice"] = shell.session("mine.square", "--range", "3", "--name", "twice", "--wait")
    ids["again"] = shell.session("mine.square", "--range", "3", "--name", "twice", "--wait")
    return ids


def at_80(shell: CommandLine, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    ran = shell.call(*arguments)
    assert ran.code == 0, ran.err
    lines = [line.rstrip() for line in ran.out.splitlines()]
    assert all(len(line) <= 80 for line in lines)
    return lines


def test_sessions(shell: CommandLine, sessions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    heading, _, *rows = at_80(shell, monkeypatch, "sessions")
    assert [row.split()[0] for row in rows] == list(reversed(sessions.values()))  # whole, each on one line
    assert heading.split()[:5] == ["session", "name", "state", "tasks", "failed"]  # and how long each took, if it fits
    by_id = dict(zip(reversed(sessions.values()), rows, strict=True))
    assert re.search(r"the eve\S*…\s+FAILED\s+300\s+100", by_id[sessions["long"]])
    assert re.search(r"book\s+COMPLETED\s+3\s", by_id[sessions["book"]])


def test_status_and_tasks(shell: CommandLine, sessions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = at_80(shell, monkeypatch, "status", sessions["long"])
    assert lines[0].split() == ["session", sessions["long"]]
    assert any(re.search(r"RUNNING\s+FAILED\s+100 of 300 tasks", line) for line in lines)
    rows = at_80(shell, monkeypatch, "tasks", sessions["long"], "--state", "FAILED")[2:]
    assert re.fullmatch(r"\s+0  FAILED +1  \S+-0-[0-9a-f]{6} .*ValueError: no 0", rows[0])


def programs(program: click.Command, *called: str) -> Iterator[tuple[str, ...]]:
    """What is called, and everything below it."""
    yield called
    for name, below in program.commands.items() if isinstance(program, click.Group) else ():
        yield from programs(below, *called, name)


@pytest.mark.parametrize("called", list(programs(cli)), ids=" ".join)
def test_every_help(shell: CommandLine, monkeypatch: pytest.MonkeyPatch, called: tuple[str, ...]) -> None:
    at_80(shell, monkeypatch, *called, "--help")


def test_a_long_name_gives_way_in_the_bar_and_no_number_does(capsys: pytest.CaptureFixture[str]) -> None:
    counters = Counters(total=120_000, completed=60_000, failed=1_500, retrying=2_000)
    record = SessionRecord("s-1234", SessionState.RUNNING, "", LONG_NAME, counters, 0.0, 0.0)
    with Bar(record, Console(width=80, force_terminal=True, file=sys.stdout, color_system=None)) as bar:
        bar.update(record)
    shown = capsys.readouterr().out
    assert re.search(r" the ev[^\n]*… [^\n]* 61500/120000 2,000 retrying, 1,500 failed  0:00:0\d -:--:--", shown)


def test_what_is_too_narrow_for_an_id_cuts_none(
    shell: CommandLine, sessions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert sessions["long"] in shell.call("sessions").out


def test_a_column_in_which_nothing_stands_is_left_out_and_markup_is_text() -> None:
    rows = Rows("a", "b", "c", numbers=["a"], folds=["c"], spares=["b"])
    rows.add(1, "", "one two")
    rows.add(1000, "", "[red]three[/] four five")
    console = Console(width=20, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(rows)
    assert [line.rstrip() for line in captured.get().splitlines()] == [
        "   a  c",
        "─" * 20,
        "   1  one two",
        "1000  [red]three[/]",
        "      four five",
    ]


# By what people call them


def test_the_beginning_of_an_id_works_wherever_an_id_does(shell: CommandLine, sessions: dict[str, str]) -> None:
    book = sessions["book"]
    short = book[:10]
    for command in (
        ("status", short), ("watch", short), ("results", short), ("tasks", short), ("logs", short, "0"),
        ("cancel", short),
    ):  # fmt: skip
        ran = shell.call(*command)
        assert ran.code == 0, (command, ran.err)
    assert shell.call("status", "--json", short).object["session"] == book
    of_tenant = sessions["long"].partition(".")[2]
    assert shell.call("status", "--json", of_tenant[:12]).object["session"] == sessions["long"]
    assert shell.call("resubmit", "--json", "--wait", sessions["long"][:14]).code == 1
    with connect(shell.url) as grid:
        assert grid.session(short).id == book


def test_so_does_a_name_that_is_unique(shell: CommandLine, sessions: dict[str, str]) -> None:
    assert shell.call("status", "--json", "book").object["session"] == sessions["book"]
    ran = shell.call("status", "twice")
    assert ran.code == 2
    assert "2 sessions are called 'twice'" in ran.err
    assert f"{sessions['again']} (COMPLETED), {sessions['twice']} (COMPLETED)" in ran.err


def test_one_exit_code_for_no_such_session(shell: CommandLine, sessions: dict[str, str]) -> None:
    for called in ("nobody", "NOT AN ID", "s-", "s", "s-000000", "s-000000000000000000000000", ""):
        for command in ("watch", "status", "tasks", "results", "cancel", "resubmit"):
            ran = shell.call(command, called)
            # What is empty is no name: a variable of the shell that is not set.
            assert ran.code == (4 if called else 2), (command, called, ran.err)
            assert ("does not exist" if called else "name a session") in ran.err
    with connect(shell.url) as grid:
        with pytest.raises(SessionNotFound):
            grid.session("NOT AN ID")
        with pytest.raises(InvalidInput):
            grid.resubmit("twice")
