"""``htcgrid events`` on a grid of one machine, as its users run it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws.grids import PROGRAM
from tests.e2e.command_line import CommandLine
from tests.e2e.support import fresh_grid


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[CommandLine]:
    with fresh_grid(tmp_path / "grid") as url:
        yield CommandLine.in_folder(tmp_path / "work", url)


def test_follows_and_goes_on(cli: CommandLine) -> None:
    first = cli.session("mine.square", "--range", "3", "--wait", "--no-progress")
    follow = [PROGRAM, "events", "--url", cli.url, "--follow", "--since", "1h", "--cursor", "ends.cursor"]
    with subprocess.Popen(follow, cwd=cli.folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = [json.loads(process.stdout.readline()) for _ in range(2)]
            second = cli.session("mine.square", "--range", "3", "--wait", "--no-progress")
            told += [json.loads(process.stdout.readline()) for _ in range(2)]
        finally:
            process.send_signal(signal.SIGKILL)
    assert {(event["type"].rpartition(".")[2], event["subject"]) for event in told} == {
        (kind, session) for kind in ("submitted", "completed") for session in (first, second)
    }
    third = cli.session("mine.square", "--range", "3", "--wait", "--no-progress")
    rest = [json.loads(line) for line in cli.call("events", "--cursor", "ends.cursor").out.splitlines()]
    kinds = {event["type"].rpartition(".")[2] for event in rest if event["subject"] == third}
    assert kinds == {"submitted", "completed"}
    assert first not in {event["subject"] for event in rest}, "it was told a while ago"


def test_it_has_to_know_where_to_begin(cli: CommandLine) -> None:
    refused = cli.run("events")
    assert refused.code == 2
    assert "--since" in refused.err
    assert cli.run("events", "--since", "yesterday").code == 2
