"""Files that are staged once: tasks have them as files of their machine, whoever put them and however."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from htcgrid_core import Grid, InvalidInput, connect
from htcgrid_core.cli.main import cli
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


def test_what_cannot_be_staged(url: str, tmp_path: Path) -> None:
    """A folder, or what is not there, is told at once."""
    with connect(url) as grid:
        _refused(grid, tmp_path, "is a folder")
        _refused(grid, tmp_path / "none", "cannot be read")


def _refused(grid: Grid, path: Path, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        grid.put(path)
