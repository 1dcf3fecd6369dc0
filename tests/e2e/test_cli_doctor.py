"""The doctor: a healthy grid passes, and each thing that can be wrong is named instead of crashing."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import connect
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import SessionSpec
from tests.e2e.command_line import CommandLine, Ran, as_an_ordinary_user
from tests.e2e.support import directory_of, eventually, the_agent
from tests.manual_agent import submit
from tests.planes import plane_of

Findings = dict[str, tuple[str, str]]


@pytest.fixture
def cli(grid_url: str, tmp_path: Path) -> CommandLine:
    """A shell with a grid of its own."""
    return CommandLine.in_folder(tmp_path / "work", grid_url)


@pytest.fixture
def root(grid_url: str) -> Path:
    """The grid's directory, which has been used and has no agents."""
    connect(grid_url).close()
    return directory_of(grid_url).root


def found(ran: Ran) -> list[dict[str, Any]]:
    """What was found wrong; the exit code says whether any of it is a problem."""
    wrong = [finding for finding in ran.objects if finding["verdict"] != "ok"]
    assert ran.code == any(finding["verdict"] == "problem" for finding in wrong)
    assert all(finding["advice"] for finding in wrong)
    return wrong


def the_problem(ran: Ran) -> tuple[str, str]:
    """The one problem that was found: check and message."""
    (problem,) = [finding for finding in found(ran) if finding["verdict"] == "problem"]
    return problem["check"], problem["message"]


def test_a_healthy_grid_that_was_not_there_yet(cli: CommandLine, grid_url: str) -> None:
    ran = cli.run("doctor", "--json")
    assert ran.code == 0, ran.out
    said = {finding["check"]: finding["message"] for finding in ran.objects}
    assert list(said) == [
        "grid", "python", "htcgrid", "temporary files", "environment", "directory", "disk", "key", "named pipes",
        "sqlite", "database", "agents", "round trip", "fleet",
    ]  # fmt: skip
    assert sys.executable in said["python"]
    assert "PATH" in said["environment"]
    assert "a task's result came back" in said["round trip"]
    assert said["fleet"] == "2 slots in 1 agent; without work they stay 20 s"
    again = cli.call("doctor")
    assert again.code == 0
    assert f"(process {the_agent(grid_url)})" in again.out
    assert "0 problems" in again.out


def test_variables_that_handlers_are_to_see_but_are_not_set(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv("HTCGRID_WORKER_ENV", "MARKET_DATA,LICENCE_SERVER")
    monkeypatch.setenv("MARKET_DATA", "secret-7f3a")
    (root / "grid.db").write_text("keep it short: the rest is not looked at")
    ran = cli.call("doctor", "--json")
    (warning,) = [finding for finding in found(ran) if finding["check"] == "environment"]
    assert warning["message"].startswith("HTCGRID_WORKER_ENV names LICENCE_SERVER, which are not set")
    assert "MARKET_DATA" in warning["message"]
    assert "secret-7f3a" not in ran.out


def newer(root: Path) -> None:
    with closing(sqlite3.connect(root / "grid.db")) as database:
        database.execute("PRAGMA user_version = 99")


def damaged(root: Path) -> None:
    path = root / "grid.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def no_database(root: Path) -> None:
    (root / "grid.db").write_bytes(b"not a database" * 1000)


def open_key(root: Path) -> None:
    (root / "key").chmod(0o644)


def empty_key(root: Path) -> None:
    (root / "key").write_bytes(b"")


def a_file(root: Path) -> None:
    root.rename(root.with_name("moved"))
    root.touch()


@pytest.mark.parametrize(
    ("breaking", "check", "says"),
    [
        (newer, "database", "written by a newer version of htcgrid: its schema is 99"),
        (damaged, "database", "damaged"),
        (no_database, "database", "file is not a database"),
        (open_key, "key", "open to other users (mode 644)"),
        (empty_key, "key", "has 0 bytes"),
        (a_file, "directory", "File exists"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_broken_is_named(
    cli: CommandLine, root: Path, breaking: Callable[[Path], None], check: str, says: str
) -> None:
    breaking(root)
    where, message = the_problem(cli.call("doctor", "--json"))
    assert where == check
    assert says in message
    for_people = cli.call("doctor")
    assert (for_people.code, "Traceback" in for_people.out + for_people.err) == (1, False)
    assert says in for_people.out


def unwritable(root: Path) -> None:
    root.chmod(0o500)


def unreadable_key(root: Path) -> None:
    (root / "key").chmod(0o000)


def unwritable_database(root: Path) -> None:
    (root / "grid.db").chmod(0o400)


def unwritable_bells(root: Path) -> None:
    (root / "bells").chmod(0o500)


@pytest.mark.parametrize(
    ("forbidding", "check"),
    [
        (unwritable, "directory"),
        (unreadable_key, "key"),
        (unwritable_database, "database"),
        (unwritable_bells, "named pipes"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_missing_permissions_are_named(
    cli: CommandLine, root: Path, forbidding: Callable[[Path], None], check: str
) -> None:
    wrapper = as_an_ordinary_user()
    if wrapper is None:
        pytest.skip("root may do everything here")
    forbidding(root)
    try:
        where, message = the_problem(cli.run("doctor", "--json", wrapper=wrapper))
        assert where == check
        assert "not writable" in message or "not readable" in message or "Permission denied" in message
        using = cli.run("submit", "mine.square", "--range", "2", "--wait", wrapper=wrapper)
        assert (using.code, "Traceback" in using.err) == (3, False)
    finally:
        for path in (root, root / "bells"):
            path.chmod(0o700)


def test_a_directory_that_is_open_to_others_is_a_warning(cli: CommandLine, root: Path) -> None:
    root.chmod(0o755)
    ran = cli.call("doctor", "--json")
    checks = [finding["check"] for finding in found(ran)]
    assert checks[0] == "directory"
    assert set(checks[1:]) <= {"round trip"}  # which a busy machine makes slow
    assert ran.code == 0


def test_a_full_disk(cli: CommandLine, root: Path) -> None:
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file may grow: every write to one fails

    doctor = cli.start("doctor", "--json", preexec_fn=full)
    out, err = doctor.communicate()
    assert doctor.returncode == 1
    assert "Traceback" not in err
    problems = [json.loads(line) for line in out.splitlines() if '"problem"' in line]
    assert [problem["check"] for problem in problems] == ["temporary files", "disk"]
    assert f"nothing can be written into {root}" in problems[1]["message"]
    submitting = cli.start("submit", "mine.square", "--range", "2", preexec_fn=full)
    out, err = submitting.communicate()
    assert (submitting.returncode, out) == (3, "")
    assert "is the disk full" in err


def test_an_agent_that_is_stopped(cli: CommandLine, grid_url: str, root: Path) -> None:
    cli.call("up", "--detach")
    agent = the_agent(grid_url)

    def stopped_outside_a_transaction() -> bool:
        """Stop it and age its last beat, as if it had been silent for a minute; not if it holds the lock."""
        os.kill(agent, signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(root / "grid.db", timeout=0.1)) as database:
                database.execute("UPDATE agents SET beat_at = beat_at - 60")
                database.commit()
        except sqlite3.OperationalError:
            os.kill(agent, signal.SIGCONT)
            return False
        return True

    try:
        eventually(stopped_outside_a_transaction, "the agent is stopped between two writes")
        check, message = the_problem(cli.call("doctor", "--json"))
    finally:
        os.kill(agent, signal.SIGCONT)
    assert check == "agents"
    assert f"process id {agent}" in message


def test_an_agent_whose_workers_cannot_start(cli: CommandLine, grid_url: str, root: Path) -> None:
    with connect(grid_url) as grid:
        grid.wake()
        plane, agent = plane_of(grid), the_agent(grid_url)
        (record,) = eventually(lambda: plane.store.agents(plane.clock.now()), "the agent says that it is there")
        os.kill(agent, signal.SIGSTOP)  # what is wrong is said in its place
        try:
            plane.store.beat(replace(record, problem="too many open files", beat_at=plane.clock.now()))
            check, message = the_problem(cli.call("doctor", "--json"))
            assert check == "agents"
            assert "too many open files" in message
            submit(plane, "s-waits", SessionSpec(function=FunctionSpec(name="json.loads")), [1], idempotent=False)
            watched = cli.call("watch", "s-waits", "--timeout", "0.5")
            assert watched.code == 5
            assert "too many open files" in watched.err
        finally:
            os.kill(agent, signal.SIGCONT)


def test_what_agents_wrote_into_their_logs(cli: CommandLine, root: Path) -> None:
    (root / "agents" / "0.log").write_text("Fatal Python error: something dreadful\n")
    (warning,) = (wrong for wrong in found(cli.call("doctor", "--json")) if wrong["check"] == "agents")
    assert warning["verdict"] == "warning"
    assert "something dreadful" in warning["message"]
