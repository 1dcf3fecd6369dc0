"""Files and folders that are staged once: tasks have them on their machine, whoever put them and however."""

from __future__ import annotations

import json
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from htcgrid_core import Grid, InvalidInput, TaskFailed, connect
from htcgrid_core.cli.main import cli
from htcgrid_core.domain.agent_version import (
    FIRST_AGENT_VERSION,
    STAGED_PATHS_AGENT_VERSION,
    min_agent_version,
)
from tests.e2e.support import fresh_grid

SIZE = 32 << 20


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A grid of one slot."""
    with fresh_grid(tmp_path / "grid", slots=1) as url:
        yield url


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file that is no small one."""
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    return path


def test_tasks_have_its_path(url: str, model: Path) -> None:
    """The same for all of them, with the same bytes, which nobody writes to by mistake; put again, it is no other."""
    with connect(url) as grid:
        tracemalloc.start()
        staged = grid.put(model)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < SIZE / 4
        blobs = model.parent / "grid" / "blobs"
        before = {path: path.stat().st_ino for path in blobs.rglob("*")}
        assert grid.put(Path(model)) == staged
        assert {path: path.stat().st_ino for path in blobs.rglob("*")} == before

        def look(event: dict[str, Path]) -> tuple[str, int, bytes, int]:
            path = event["model"]
            with path.open("rb") as file:
                file.seek(SIZE - 256)
                return str(path), path.stat().st_size, file.read(2), path.stat().st_mode & 0o222

        found = list(grid.submit(look, [{"model": staged}] * 3).results())
    assert {(size, data, writable) for _, size, data, writable in found} == {(SIZE, b"\0\1", 0)}
    assert len({path for path, *_ in found}) == 1


def test_from_the_command_line(url: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed is put into an event as it is."""
    (tmp_path / "sizes_of.py").write_text(
        "def handler(event, context):\n    return [event['n'], event['model'].stat().st_size]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    put = CliRunner().invoke(cli, ["data", "put", str(model), "--url", url])
    assert put.exit_code == 0, put.output
    events = tmp_path / "events.jsonl"
    lines = [json.dumps({"n": number, "model": json.loads(put.stdout)}) for number in range(2)]
    events.write_text("\n".join(lines))
    with connect(url) as grid:
        found = grid.submit("sizes_of.handler", [json.loads(line) for line in lines]).results()
        assert list(found) == [[0, SIZE], [1, SIZE]]
    submitted = CliRunner().invoke(cli, ["submit", "sizes_of.handler", "--events", str(events), "--url", url, "--wait"])
    assert submitted.exit_code == 0, submitted.output
    results = CliRunner().invoke(cli, ["results", submitted.stdout.split()[-1], "--url", url])
    assert [json.loads(line) for line in results.stdout.splitlines()] == [[0, SIZE], [1, SIZE]]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder of files in folders."""
    folder = tmp_path / "library"
    (folder / "books").mkdir(parents=True)
    (folder / "books" / "one.txt").write_text("1")
    (folder / "books" / "two.txt").write_text("2")
    (folder / "tool").write_text("#!/bin/sh\necho of the library\n")
    (folder / "tool").chmod(0o755)
    return folder


def test_tasks_have_the_path_of_a_folder(tmp_path: Path, library: Path) -> None:
    """One for all tasks and agents of a machine, read-only; put again, it is no other, and changed, it is."""
    with fresh_grid(tmp_path / "grid", slots=2) as url, connect(url) as grid:
        staged = grid.put(library)
        assert grid.put(Path(library)) == staged

        def look(folder: Path) -> tuple[str, dict[str, bytes], bytes, list[int]]:
            files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.txt"))}
            said = subprocess.run([str(folder / "tool")], capture_output=True, check=True).stdout
            modes = [path.stat().st_mode & 0o222 for path in (folder, *folder.rglob("*"))]
            return str(folder), {name: path.read_bytes() for name, path in files.items()}, said, modes

        found = list(grid.submit(look, [staged] * 6, bundle_size=1).results())
        assert len({path for path, *_ in found}) == 1
        for _, files, said, modes in found:
            assert files == {"books/one.txt": b"1", "books/two.txt": b"2"}
            assert said == b"of the library\n"
            assert set(modes) == {0}
        (library / "books" / "two.txt").write_text("3")
        changed = grid.put(library)
        assert changed != staged
        assert [files["books/two.txt"] for _, files, *_ in grid.submit(look, [staged, changed]).results()] == [
            b"2",
            b"3",
        ]


def test_a_folder_that_a_task_has_changed(url: str, library: Path) -> None:
    """On purpose, that is: the next worker has what was staged, or none."""

    def change(folder: Path) -> None:
        (folder / "tool").chmod(0o755)
        (folder / "tool").write_text("echo of somebody else")

    with connect(url) as grid:
        staged = grid.put(library)
        grid.submit(change, [staged]).wait()

        def read(folder: Path) -> str:
            return (folder / "tool").read_text()

        session = grid.submit(read, [staged], isolation="session", retry=1)
        try:
            assert list(session.results()) == [(library / "tool").read_text()]  # the agent has looked since
        except TaskFailed as error:
            assert "does not have the digest" in str(error)  # noqa: PT017 - either is right


def test_a_folder_from_the_command_line(
    url: str, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a file."""
    (tmp_path / "names_in.py").write_text(
        "def handler(event, context):\n    return sorted(path.name for path in event['library'].rglob('*'))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    put = CliRunner().invoke(cli, ["data", "put", str(library), "--url", url])
    assert put.exit_code == 0, put.output
    event = {"library": json.loads(put.stdout)}
    assert event["library"]["codec"] == "folder"
    with connect(url) as grid:
        (found,) = grid.submit("names_in.handler", [event]).results()
    assert found == ["books", "one.txt", "tool", "two.txt"]


def test_which_agents_may_run_it(url: str, model: Path, library: Path) -> None:
    """Those that know what a staged path is: earlier ones leave such sessions alone."""
    with connect(url) as grid:
        for value, version in (
            (b"bytes", FIRST_AGENT_VERSION),
            (model, STAGED_PATHS_AGENT_VERSION),
            (library, STAGED_PATHS_AGENT_VERSION),
        ):
            session = grid.submit("builtins.len", [{"at": [grid.put(value)]}], codec="json")
            assert min_agent_version(grid.gateway.session(session.id).spec) == version


def test_what_cannot_be_staged(url: str, tmp_path: Path) -> None:
    """An empty folder, or what is not there, is told at once."""
    (tmp_path / "empty").mkdir()
    with connect(url) as grid:
        _refused(grid, tmp_path / "empty", "without files")
        _refused(grid, tmp_path / "none", "cannot be read")


def _refused(grid: Grid, path: Path, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        grid.put(path)
