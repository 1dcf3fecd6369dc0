"""The command line's manners: help, exit codes, and one clear sentence for every kind of bad input."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from htcgrid_core import connect
from htcgrid_core.cli.exits import MEANINGS, Exit, code_of
from htcgrid_core.cli.main import Commands, cli
from htcgrid_core.cli.output import duration, json_bytes
from htcgrid_core.domain import errors
from tests.e2e.command_line import PROGRAM, CommandLine

COMMANDS = sorted(name for name, command in cli.commands.items() if not isinstance(command, click.Group))
GROUPS = {name: command for name, command in cli.commands.items() if isinstance(command, click.Group)}
SUBCOMMANDS = sorted((name, below) for name, group in GROUPS.items() for below in group.commands)


@pytest.fixture
def shell(tmp_path: Path) -> CommandLine:
    """A shell whose grid has no agents: nothing of what is tried here gets as far as needing one."""
    return CommandLine.in_folder(tmp_path / "work", f"local://{tmp_path}/grid")


def test_the_program_starts_and_says_its_version() -> None:
    ran = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("htcgrid, version ")


def test_help_needs_nothing_heavy() -> None:
    heavy = ("pydantic", "sqlite3", "rich", "cloudpickle", "orjson", "subprocess", "htcgrid_core.client")
    script = f"import sys, htcgrid_core.cli.main\nprint([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_help_names_every_command_and_exit_code(shell: CommandLine) -> None:
    text = shell.call("--help").out
    assert all(f"\n  {command} " in text for command in cli.commands)
    assert all(f"{code:>5d}  {meaning}" in text for code, meaning in MEANINGS.items())
    assert set(MEANINGS) == set(Exit)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_url_and_json_and_explains_itself(shell: CommandLine, command: str) -> None:
    ran = shell.call(command, "--help")
    assert ran.code == 0
    assert "--url" in ran.out
    assert "HTCGRID_URL" in ran.out
    assert "--json" in ran.out


@pytest.mark.parametrize(("group", "command"), SUBCOMMANDS)
def test_every_command_of_a_group_does_so_too(shell: CommandLine, group: str, command: str) -> None:
    """Those of ``aws`` name a grid that may not be there yet, of ``api-keys`` a file, of ``stream`` a stream."""
    ran = shell.call(group, command, "--help")
    assert ran.code == 0
    assert {"aws": "NAME", "api-keys": "--key-file", "stream": "STREAM_URL"}.get(group, "--url") in ran.out
    assert "--json" in ran.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_a_url_that_nobody_knows(shell: CommandLine, command: str) -> None:
    arguments = {
        "submit": ["mine.square", "--range", "1"], "logs": ["s-123456", "0"], "up": [], "down": [], "agent": [],
        "sessions": [], "load": [], "reconcile": [], "doctor": [], "events": ["--since", "1h"], "serve": [],
        "costs": [], "top": [], "data": ["ls"],
    }.get(command, ["s-123456"])  # fmt: skip
    ran = shell.call(command, *arguments, "--url", "local://grid")
    assert (ran.code, ran.out) == (2, "")
    assert "three slashes" in ran.err


SUBMIT = ("submit", "mine.square")
BAD_INPUT = [
    (("submit",), "Missing argument 'FUNCTION'"),
    (SUBMIT, "--events FILE"),
    ((*SUBMIT, "--range", "1", "--events", "x"), "--range N"),
    ((*SUBMIT, "--range", "-1"), "--range"),
    ((*SUBMIT, "--events", "not-there"), "No such file"),
    ((*SUBMIT, "--events", "."), "Is a directory"),
    (("submit", "mine.cube", "--range", "1"), "no function 'cube'"),
    (("submit", "yours.square", "--range", "1"), "no module 'yours'"),
    (("submit", "square", "--range", "1"), "module.handler"),
    ((*SUBMIT, "--range", "1", "--max-attempts", "0"), "max_attempts"),
    ((*SUBMIT, "--range", "1", "--backoff-base", "9", "--backoff-cap", "1"), "backoff_base_seconds must not be above"),
    ((*SUBMIT, "--range", "1", "--task-timeout", "-1"), "task_timeout"),
    ((*SUBMIT, "--range", "1", "--timeout", "soon"), "--timeout"),
    ((*SUBMIT, "--range", "1", "--max-failures", "few"), "like 0.01 or 1%"),
    ((*SUBMIT, "--range", "1", "--max-failures", "200%"), "'200%' is no share of the tasks: it is above 0 % and below"),
    ((*SUBMIT, "--range", "1", "--max-failures", "1.5"), "max_failures is a count of tasks, like 5, or a share"),
    ((*SUBMIT, "--range", "1", "--max-failures", "-1"), "max_failures"),
    ((*SUBMIT, "--range", "1", "--label", "desk"), "KEY=VALUE"),
    ((*SUBMIT, "--range", "1", "--label", "=x"), "labels"),
    ((*SUBMIT, "--range", "1", "--pool", "A/B"), "pool"),
    ((*SUBMIT, "--range", "1", "--priority", "top"), "--priority"),
    ((*SUBMIT, "--range", "1", "--token", ""), "a token has 1 to"),
    (("status",), "SESSION"),
    (("tasks", "s-123456", "--state", "DEAD"), "--state"),
    (("logs", "s-123456", "one"), "INDEX"),
    (("sessions", "--state", "DEAD"), "--state"),
    (("sessions", "--limit", "0"), "--limit"),
    (("frobnicate",), "No such command"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD_INPUT)
def test_bad_input_is_code_2_and_writes_nothing(shell: CommandLine, arguments: tuple[str, ...], says: str) -> None:
    ran = shell.call(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert shell.call("sessions", "--json").out == ""


BAD_EVENTS = [
    ("e.jsonl", b"1\n\n{oops\n", "e.jsonl, line 3: not a JSON value"),
    ("e.jsonl", b"1\n\xff\n", "e.jsonl, line 2"),
    ("e.jsonl", b"[1,\n2]\n", "must be named .json"),
    ("e.json", b"[1,\n2", "e.json, line 2"),
    ("e.json", b'{"a": 1}', "a dict, not an array"),
    ("e.csv", b"a,b\n1,2\n3\n", "e.csv, line 3: 1 of 2 columns"),
    ("e.csv", b"a,b\n1,2\n3,4,5\n", "e.csv, line 3: 3 of 2 columns"),
    ("e.csv", b"a,a\n1,2\n", "e.csv, line 1: a header"),
    ("e.csv", b"", "e.csv, line 1: a header"),
    ("e.csv", b"a\n\xff\n", "line 2: byte 0xff at column 1 is not UTF-8"),
    ("e.csv", b'a\n"x\n', "line 2: not CSV"),
]


@pytest.mark.parametrize(("name", "data", "says"), BAD_EVENTS)
def test_bad_events_are_told_by_their_line(shell: CommandLine, name: str, data: bytes, says: str) -> None:
    (shell.folder / name).write_bytes(data)
    ran = shell.call("submit", "mine.echo", "--events", name)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert shell.call("sessions", "--json").out == ""


def test_a_bad_line_far_into_a_large_file_aborts_what_was_begun(shell: CommandLine) -> None:
    line = f'"{"x" * 100_000}"\n'
    (shell.folder / "e.jsonl").write_text(line * 60 + "oops\n")  # more than what is checked before anything is written
    ran = shell.call("submit", "mine.echo", "--events", "e.jsonl")
    assert ran.code == 2
    assert "line 61" in ran.err
    begun = shell.call("sessions", "--json").object
    assert begun["state"] == "CANCELLED"
    assert "line 61" in begun["reason"]


@pytest.mark.parametrize("command", ["status", "watch", "results", "tasks", "cancel", "resubmit"])
def test_an_unknown_session_is_code_4(shell: CommandLine, command: str) -> None:
    connect(shell.url).close()
    ran = shell.call(command, "s-123456")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == "Error: session 's-123456' does not exist on this grid; `htcgrid sessions` lists those that do\n"


def test_a_grid_that_cannot_be_used_is_code_3(shell: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    unreachable = shell.call("sessions", "--url", f"local://{tmp_path}/file/grid")
    assert unreachable.code == 3
    assert "Not a directory" in unreachable.err
    assert shell.call("submit", "mine.square", "--range", "0").code == 0
    with closing(sqlite3.connect(tmp_path / "grid" / "grid.db")) as database:
        database.execute("PRAGMA user_version = 99")
    newer = shell.call("sessions")
    assert newer.code == 3
    assert "a newer version" in newer.err


def test_every_error_of_ours_has_a_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GridError)]
    assert {kind.__name__: code_of(kind.__new__(kind)) for kind in kinds} == {
        "GridError": 3, "InvalidInput": 2, "InvalidEvent": 2, "FunctionNotFound": 2, "UnknownGrid": 2,
        "IncompatibleGrid": 3, "GridUnavailable": 3, "SessionNotFound": 4, "SessionConflict": 2,
        "SessionNotFinished": 2, "SessionHeld": 2, "IllegalTransition": 1,
        "LeaseLost": 3, "CorruptPayload": 3, "SignatureInvalid": 3,
        "ResultTooLarge": 3, "WaitTimeout": 5, "TaskFailed": 1, "SessionFailed": 1,
        "ObjectNotFound": 2, "InvalidEvents": 2,
        "AccessDenied": 3, "CredentialsExpired": 3, "InvalidPackage": 2, "NotTabular": 2, "NotOffered": 3,
            "WouldDeadlock": 3,
    }  # fmt: skip


def test_a_bug_is_code_70_with_its_traceback_and_an_interrupt_130_without() -> None:
    @click.group(cls=Commands)
    def program() -> None: ...

    @program.command()
    def divide() -> None:
        _ = 1 / 0

    @program.command()
    def endless() -> None:
        raise KeyboardInterrupt

    ran = CliRunner().invoke(program, ["divide"])
    assert ran.exit_code == 70
    assert "Traceback" in ran.stderr
    assert "this is a bug in htcgrid: ZeroDivisionError" in ran.stderr
    interrupted = CliRunner().invoke(program, ["endless"])
    assert (interrupted.exit_code, interrupted.stderr) == (130, "\ninterrupted\n")


def test_reconcile_does_one_tick(shell: CommandLine, tmp_path: Path) -> None:
    with connect(f"local://{tmp_path}/grid") as grid:
        assert shell.call("reconcile", "--json").object["live"] == 0
        assert grid.sessions() == []
    assert "0 live sessions" in shell.call("reconcile").out


def test_down_without_agents(shell: CommandLine, tmp_path: Path) -> None:
    assert shell.call("down", "--json").object == {"stopped": [], "left": []}
    assert "no agents run" in shell.call("down").err
    assert not (tmp_path / "grid").exists(), "asking does not make a grid"


def test_json_lines_are_json_whatever_a_handler_returns() -> None:
    assert json_bytes({"a": [1, None, "é"]}) == '{"a": [1, null, "é"]}\n'.encode()
    assert json_bytes("\ud800") == b'"\\ud800"\n'
    assert json_bytes({1, 2}) == b'"{1, 2}"\n'
    assert json_bytes("two\nlines") == b'"two\\nlines"\n'


def test_durations_as_people_say_them() -> None:
    spans = [0.0004, 0.012, 0.5, 3.44, 59.94, 59.96, 306, 3600, 7380, 172_799, 748_800]
    assert [duration(seconds) for seconds in spans] == [
        "0.4 ms", "12 ms", "500 ms", "3.4 s", "59.9 s", "1 m 00 s", "5 m 06 s", "1 h 00 m", "2 h 03 m",
        "47 h 59 m", "8 d 16 h",
    ]  # fmt: skip
