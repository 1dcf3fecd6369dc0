"""Deployed functions that cannot be loaded: their own tasks fail and say why, and the agent goes on for all others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, RetryPolicy, connect
from htcgrid_core.domain import limits
from tests.e2e.support import ended, fresh_grid

DOUBLE = "tests.e2e.handlers.double"
ONCE = RetryPolicy(max_attempts=1)
RUNTIMES = ["python", "provided"]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """One grid, and one agent, for all of them: it has to stand it."""
    with fresh_grid(tmp_path_factory.mktemp("grid")) as url, connect(url) as connected:
        yield connected


def written(folder: Path) -> Path:
    """A function for both kinds of runtime."""
    folder.mkdir()
    (folder / "app.py").write_text("def handler(event, context):\n    return event\n")
    (folder / "bootstrap").write_text("#!/bin/sh\nexit 3\n")
    (folder / "bootstrap").chmod(0o755)
    return folder


def deploy(grid: Grid, folder: Path, runtime: str, **options: Any) -> str:
    where: dict[str, Any] = {"handler": "app.handler"} if runtime == "python" else {"runtime": "provided"}
    return grid.deploy(f"bad-{runtime}", folder, **where, **options).name


def fails_alone(grid: Grid, function: str, said: str, **options: Any) -> None:
    session = grid.submit(function, [1, 2], retry=ONCE, **options)
    assert ended(session).failed == 2
    for task in session.tasks():
        assert task.error is not None
        assert task.error.type == "InitError"
        assert said in task.error.message + task.error.traceback
    assert [agent.problem for agent in grid.gateway.agents()] == [""]
    assert list(grid.submit(DOUBLE, [1]).results()) == [2]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_name_that_no_file_system_takes(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    """As an earlier version let it be deployed."""
    folder = written(tmp_path / "function")
    with monkeypatch.context() as lax:
        lax.setattr(limits, "MAX_PACKAGE_NAME_BYTES", 1000)
        lax.setattr("htcgrid_core.client.packaging._of_folder", with_a_long_name(folder))
        function = deploy(grid, folder, runtime)
    fails_alone(grid, function, "in the package is a name of 300 bytes, over 255")


def with_a_long_name(folder: Path) -> Any:
    from htcgrid_core.client import packaging
    from htcgrid_core.codecs.packages import Entry

    found = packaging._of_folder

    def entries(root: Path) -> Iterator[Entry]:
        yield from found(root)
        yield Entry("x" * 300, False, iter([b"x"]))

    return entries


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_package_that_does_not_fit_its_memory(grid: Grid, tmp_path: Path, runtime: str) -> None:
    folder = written(tmp_path / "function")
    (folder / "data").write_bytes(os.urandom(40 << 20))
    function = deploy(grid, folder, runtime)
    fails_alone(grid, function, "zipped, cannot be unpacked in 32 MiB: raise memory_mb", memory_mb=32)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("variable", ["PYTHONHASHSEED", "PYTHONHOME"])
def test_variables_with_which_no_python_starts(grid: Grid, tmp_path: Path, runtime: str, variable: str) -> None:
    function = deploy(grid, written(tmp_path / "function"), runtime, environment={variable: "/nowhere"})
    fails_alone(grid, function, "Fatal Python error")
