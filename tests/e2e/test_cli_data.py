"""``htcgrid data``: what sessions keep, and its deletion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import CommandLine
from tests.e2e.support import fresh_grid


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[CommandLine]:
    """A shell with a grid of its own."""
    with fresh_grid(tmp_path / "grid") as url:
        yield CommandLine.in_folder(tmp_path / "work", url)


def test_what_there_is_and_what_is_deleted(cli: CommandLine) -> None:
    small = cli.session("mine.square", "--range", "1", "--wait", "--retention", "12h")
    large = cli.session("mine.square", "--range", "500", "--wait", "--tenant", "rates")
    first, second = cli.call("data", "ls", "--json").objects
    assert (first["session"], first["tenant"], second["session"]) == (large, "rates", small)
    assert first["events_bytes"] > second["events_bytes"] > 0
    assert first["results_bytes"] > second["results_bytes"] > 0
    assert second["expires_at"] == second["ended_at"] + 12 * 3600
    (only,) = cli.call("data", "ls", "--tenant", "rates", "--json").objects
    assert only["session"] == large
    assert cli.call("data", "ls", "--since", "2999-01-01").err == "no such session\n"
    assert "2 sessions, with" in cli.call("data", "ls").err

    refused = cli.call("data", "rm", large, stdin=b"n\n")
    assert (refused.code, cli.call("status", large).code) == (1, 0)
    assert cli.call("data", "rm", large[:-1], "--yes").err == f"there is no session {large[:-1]} (any more)\n"
    assert cli.call("status", large).code == 0, "what begins like one is not deleted for it"
    gone = cli.call("data", "rm", large, "--yes", "--reason", "no need")
    assert (gone.code, gone.err) == (0, f"session {large} is deleted\n")
    assert cli.call("status", large).code != 0
    (again,) = cli.call("data", "rm", large, "--yes", "--json").objects
    assert again == {"session": large, "deleted": False}
    last = cli.call("audit", large, "--json").objects[-1]
    assert (last["event"], last["detail"]) == ("delete", "no need")
    assert cli.call("status", small).code == 0


def test_one_that_runs_is_refused_and_the_others_go(cli: CommandLine) -> None:
    done = cli.session("mine.square", "--range", "1", "--wait")
    waits = cli.session("mine.wait_for", "--range", "1")
    ran = cli.call("data", "rm", waits, done, "--yes")
    assert ran.code != 0
    assert "cancel it" in ran.err
    assert f"session {done} is deleted" in ran.err
    assert cli.call("status", waits).code == 0
    cli.call("cancel", waits)


@pytest.mark.parametrize("text", ["soon", "d", "1w"])
def test_a_retention_that_is_no_time(cli: CommandLine, text: str) -> None:
    ran = cli.call("submit", "mine.square", "--range", "1", "--retention", text)
    assert (ran.code, "30d, 12h" in ran.err) == (2, True)


def test_what_is_held_and_what_another_grid_reads(cli: CommandLine, tmp_path: Path) -> None:
    done = cli.session("mine.square", "--range", "3", "--wait", "--label", "desk=rates")
    waits = cli.session("mine.wait_for", "--range", "1")
    held = cli.call("data", "hold", waits, done, "--reason", "case 2026-17")
    assert held.code == 2
    assert "nothing deletes it before its end" in held.err
    assert f"session {done} is on hold: case 2026-17" in held.err
    refused = cli.call("data", "rm", done, "--yes")
    assert (refused.code, "on legal hold (case 2026-17)" in refused.err) == (2, True)
    assert {one["session"]: one["held"] for one in cli.call("data", "ls", "--json").objects}[done] == "case 2026-17"

    assert "case 2026-17" in cli.call("status", done).out.partition("submitted")[0]
    assert cli.call("status", done, "--json").objects[0]["held"] == "case 2026-17"

    (written,) = cli.call("data", "export", "--label", "desk=rates", "book.zip", "--json").objects
    assert written["sessions"] == [done]
    assert cli.call("data", "export", done, "book.zip").code == 2, "it is there"
    assert cli.call("data", "export", "--label", "desk=none", "other.zip").code == 2
    astray = cli.call("data", "export", done, "nowhere/book.zip")
    assert (astray.code, astray.err) == (2, "Error: nowhere is no folder: nothing was exported\n")
    other = f"local://{tmp_path / 'other'}"
    for imported in (True, False):
        (told,) = cli.call("data", "import", "book.zip", "--json", "--url", other).objects
        assert told == {"session": done, "imported": imported}
    assert cli.call("results", done, "--url", other).out == cli.call("results", done).out

    assert "and is kept until" in cli.call("data", "release", done).err
    assert cli.call("data", "rm", done, "--yes").code == 0
    cli.call("cancel", waits)
