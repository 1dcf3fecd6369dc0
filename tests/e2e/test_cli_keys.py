"""``htcgrid keys``: on a grid that goes on working, whatever happens to a rotation."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from htcgrid_core import Grid, connect
from htcgrid_core.adapters.local.keys import FileKeys
from htcgrid_core.domain import limits
from htcgrid_core.local.directory import open_plane
from tests.e2e.command_line import CommandLine
from tests.e2e.support import GUARD_SECONDS, directory_of, ended, fresh_grid, the_agent
from tests.planes import plane_of

KILLS = 8

ROTATING = """
import sys
from pathlib import Path
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.local.keys import rotate
plane = open_plane(Directory(Path(sys.argv[1])))
while True:
    print(rotate(plane).number, flush=True)
"""


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[CommandLine]:
    """A shell with a grid of its own."""
    with fresh_grid(tmp_path / "grid") as url:
        connect(url).close()
        yield CommandLine.in_folder(tmp_path / "work", url)


@pytest.fixture
def grid(cli: CommandLine) -> Iterator[Grid]:
    with connect(cli.url) as grid:
        yield grid


def negated(event: int) -> int:
    return -event


def test_an_agent_that_runs_goes_on(cli: CommandLine, grid: Grid) -> None:
    """From a rotation to the day when the old key is dropped; nobody is started again."""
    before = grid.submit(negated, [1, 2])
    ended(before)
    agent = the_agent(cli.url)
    (first,) = cli.call("keys", "list", "--json").objects
    assert (first["signs"], first["live"], first["ended"], first["blobs"], first["deployed"]) == (True, 0, 1, 1, [])
    made = cli.call("keys", "rotate", "--json").object
    with connect(cli.url) as later:
        after = later.submit(negated, [3])
        assert list(after.results()) == [-3]
        assert plane_of(later).store.session(after.id, 0.0).parsed_spec().signing_key == made["key"]
        assert list(later.session(before.id).results()) == [-1, -2]
    assert the_agent(cli.url) == agent
    old, new = cli.call("keys", "list", "--json").objects
    assert (old["key"], old["signs"], old["ended"]) == (first["key"], False, 1)
    assert (new["key"], new["signs"], new["ended"]) == (made["key"], True, 1)
    assert cli.call("keys", "prune").out == "no key can be dropped\n"
    assert cli.call("keys", "prune", "--force").out == f"{old['key']} is dropped\n"
    assert cli.call("results", after.id).out == "-3\n"
    refused = cli.call("results", before.id)
    assert refused.code != 0
    assert "does not verify" in refused.err


def test_what_people_see(cli: CommandLine) -> None:
    made = cli.run("keys", "rotate")
    assert (made.code, made.err) == (0, "")
    signs = made.out.split()[0]
    assert made.out == f"{signs} signs from now on\n"
    listed = cli.run("keys", "list").out
    assert [line.split()[0] for line in listed.splitlines() if "verifies" in line or signs in line][1] == signs
    secrets = [stored.key.secret for stored in open_plane(directory_of(cli.url)).keys.look().keys]
    assert len(secrets) == 2
    assert not [secret for secret in secrets if secret.hex()[:16] in listed + made.out]


DYING = """
import os, sys
from pathlib import Path
from htcgrid_core.adapters.local.keys import FileKeys
setattr(os, sys.argv[2], lambda *given, **named: os._exit(9))
FileKeys(Path(sys.argv[1])).make(2)
"""


@pytest.mark.parametrize("call", ["mkdir", "open", "fdopen", "fsync", "link"])
def test_a_rotation_that_ends_anywhere_leaves_a_usable_grid(tmp_path: Path, call: str) -> None:
    """Whichever step would have been its next, and though nothing cleans up after it."""
    (first,) = FileKeys(tmp_path).read().keys
    dying = subprocess.run([sys.executable, "-c", DYING, str(tmp_path), call], timeout=GUARD_SECONDS, check=False)
    assert dying.returncode == 9
    assert FileKeys(tmp_path).read().keys == (first,)
    FileKeys(tmp_path).make(2)
    assert [stored.number for stored in FileKeys(tmp_path).read().keys] == [1, 2]


@pytest.mark.slow
def test_rotations_that_are_killed(cli: CommandLine, grid: Grid) -> None:
    """At any moment, again and again: each number that was told is a key that signs, and there is one signer."""
    root, told = directory_of(cli.url).root, 1
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", ROTATING, str(root)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.communicate(timeout=GUARD_SECONDS)[0].split()
        told = max([told, *(int(number) for number in rest if number.isdecimal())])
        stored = FileKeys(root).read()
        assert [key.number for key in stored.keys] == list(range(1, stored.signer.number + 1))
        assert stored.signer.number >= told
    with connect(cli.url) as later:
        assert list(later.submit(negated, [2]).results()) == [-2]


def test_rotations_at_once_leave_one_signer(cli: CommandLine) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: cli.run("keys", "rotate", "--json").object, range(2)))
    listed = cli.call("keys", "list", "--json").objects
    assert [each["key"] for each in listed if each["signs"]] == [max(made, key=lambda each: each["number"])["key"]]
    assert {each["key"] for each in made} <= {each["key"] for each in listed}
    assert [each["number"] for each in listed] == list(range(1, len(listed) + 1))


def test_the_day_that_an_old_key_has(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    old = cli.call("keys", "list", "--json").object
    cli.call("keys", "rotate")
    assert cli.call("keys", "prune", "--json").objects == []
    monkeypatch.setattr(limits, "KEY_RETIRED_SECONDS", 0.0)
    assert [each["key"] for each in cli.call("keys", "prune", "--json").objects] == [old["key"]]
