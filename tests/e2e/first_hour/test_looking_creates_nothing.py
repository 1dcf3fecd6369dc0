"""Commands that only look make no grid where there is none; a URL that lacks a slash is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from htcgrid_core import UnknownGrid, connect
from tests.e2e.command_line import CommandLine

LOOKING = (
    ("status", "s-1"), ("watch", "s-1"), ("results", "s-1"), ("tasks", "s-1"), ("logs", "s-1", "0"), ("sessions",),
    ("cancel", "s-1"), ("resubmit", "s-1"), ("load",), ("events", "--since", "1h"), ("functions", "list"),
    ("functions", "remove", "pricing"), ("destinations", "list"), ("keys", "list"), ("keys", "prune"), ("reconcile",),
)  # fmt: skip


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    folder = tmp_path_factory.mktemp("nowhere")
    return CommandLine.in_folder(folder / "work", f"local://{folder}/grid")


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_where_there_is_no_grid_none_is_made(nowhere: CommandLine, command: tuple[str, ...]) -> None:
    ran = nowhere.call(*command)
    assert ran.code == 2, ran.err
    assert "there is no grid in" in ran.err
    assert os.listdir(nowhere.folder.parent) == ["work"]


def test_nor_are_agents_stopped_that_are_not_there(nowhere: CommandLine) -> None:
    assert "no agents run" in nowhere.call("down").err
    assert os.listdir(nowhere.folder.parent) == ["work"]


def test_one_slash_is_not_three(nowhere: CommandLine, tmp_path: Path) -> None:
    url = f"local:{tmp_path}/x"
    ran = nowhere.call("submit", "mine.square", "--range", "1", "--url", url)
    assert ran.code == 2
    assert f"{url!r} lacks slashes" in ran.err
    for wrong in (url, "local:", "local:x", "local:/"):
        with pytest.raises(UnknownGrid):
            connect(wrong)
    assert not list(tmp_path.iterdir())
