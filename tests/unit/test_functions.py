"""The registry: versions, two deployments at once, and what a session keeps of one."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from htcgrid_core import FunctionNotFound, Grid, InvalidInput, SessionConflict
from htcgrid_core.client.packaging import package
from htcgrid_core.codecs.packages import Entry, Packed, pack
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.services import functions
from htcgrid_core.testing.contracts.facts import together
from tests.planes import memory_plane, plane_of, still_grid

HANDLER = "def handler(event, context):\n    return event\n"


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    """A grid whose agents nobody needs."""
    return still_grid(memory_plane(tmp_path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A function with a module, a package and data."""
    made = tmp_path / "function"
    (made / "lib").mkdir(parents=True)
    (made / "app.py").write_text(HANDLER)
    (made / "lib" / "__init__.py").write_text("def handler(event, context): ...\n")
    (made / "data.bin").write_bytes(bytes(range(256)) * 100)
    return made


# Packages


def test_the_same_files_are_the_same_package(folder: Path, tmp_path: Path) -> None:
    """Whatever their times, order and what Python leaves behind; from a folder or from a zip."""
    first = package(folder, "app.handler", "python3.11")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "app.cpython-311.pyc").write_bytes(b"x")
    os.utime(folder / "app.py", (10**9, 10**9))
    os.chmod(folder / "app.py", 0o600)
    assert package(folder, "app.handler", "python3.11") == first
    archive = tmp_path / "function.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as made:
        for path in sorted(folder.rglob("*"), reverse=True):
            made.write(path, path.relative_to(folder))
    assert package(archive, "app.handler", "python3.11") == first


@pytest.mark.parametrize("change", ["bytes", "name", "mode", "more"])
def test_other_files_are_another_package(folder: Path, change: str) -> None:
    first = package(folder, "app.handler", "python3.11")
    if change == "bytes":
        (folder / "data.bin").write_bytes(b"x")
    elif change == "name":
        (folder / "data.bin").rename(folder / "data.dat")
    elif change == "mode":
        os.chmod(folder / "data.bin", 0o755)
    else:
        (folder / "more.txt").touch()
    assert package(folder, "app.handler", "python3.11").content != first.content


def test_content_does_not_depend_on_compression(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines' zlib need not write the same bytes."""

    def packed() -> Packed:
        return pack([Entry("a.txt", False, iter([b"a" * 1000]))])

    first = packed()
    monkeypatch.setattr(zipfile, "ZIP_DEFLATED", zipfile.ZIP_STORED)
    assert packed().data != first.data
    assert packed().content == first.content


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("app.nothing", "has no function 'nothing'"), ("missing.handler", "has no module 'missing'"),
        ("handler", "is not a handler"), ("", "handler: String should match"), ("../app.handler", "is not a handler"),
        ("app.", "is not a handler"), ("data.handler", "has no module 'data'"),
    ],
)  # fmt: skip
def test_a_handler_that_is_not_there(grid: Grid, folder: Path, handler: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        grid.deploy("app", folder, handler=handler)
    assert grid.functions() == []


@pytest.mark.parametrize("handler", ["app.handler", "lib.handler", "lib/__init__.handler"])
def test_handlers_that_are_found(grid: Grid, folder: Path, handler: str) -> None:
    assert grid.deploy("app", folder, handler=handler).handler == handler


def test_a_provided_runtime_needs_its_bootstrap(grid: Grid, folder: Path) -> None:
    with pytest.raises(FunctionNotFound, match="starts a file named bootstrap"):
        grid.deploy("app", folder, runtime="provided.al2023")
    (folder / "bootstrap").write_text("#!/bin/sh\n")
    assert grid.deploy("app", folder, runtime="provided.al2023").handler == "bootstrap"


@pytest.mark.parametrize(
    "options",
    [
        {"runtime": "python2.7"}, {"runtime": "ruby3.3"}, {"runtime": " "}, {"timeout": 0}, {"timeout": float("inf")},
        {"memory_mb": 1}, {"environment": {"A": "\0"}}, {"description": "x" * 300},
    ],
)  # fmt: skip
def test_options_that_are_no_good(grid: Grid, folder: Path, options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="was not deployed"):
        grid.deploy("app", folder, handler="app.handler", **options)  # type: ignore[arg-type]  # as meant
    assert grid.functions() == []


# Versions


def deployed(grid: Grid, folder: Path, text: str = HANDLER, **options: object) -> FunctionVersion:
    """The function with this source."""
    (folder / "app.py").write_text(text)
    return grid.deploy("app", folder, handler="app.handler", **options)  # type: ignore[arg-type]  # as meant


def test_the_same_again_is_the_same_version(grid: Grid, folder: Path) -> None:
    first = deployed(grid, folder, timeout=30)
    assert first.version == 1
    assert deployed(grid, folder, timeout=30) == first
    second = deployed(grid, folder, timeout=31)
    assert (second.version, second.blob) == (2, first.blob)
    third = deployed(grid, folder, HANDLER + "# changed\n", timeout=31)
    assert third.version == 3
    back = deployed(grid, folder, timeout=30)
    assert back.version == 4, "what was deployed last is what runs, also if it was there before"
    assert [version.version for version in grid.functions("app")] == [1, 2, 3, 4]
    assert [version.name for version in grid.functions()] == ["app:4"]


def test_deployments_at_once_get_numbers_of_their_own(grid: Grid, tmp_path: Path) -> None:
    folders = []
    for number in range(6):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        (folders[-1] / "app.py").write_text(f"{HANDLER}# {number % 3}\n")  # each twice
    start = threading.Barrier(6)

    def deploy(folder: Path) -> FunctionVersion:
        start.wait()
        return grid.deploy("app", folder, handler="app.handler", description=folder.name)

    calls: list[Callable[[], FunctionVersion]] = [partial(deploy, folder) for folder in folders]
    versions = [version for version in together(calls) if isinstance(version, FunctionVersion)]
    assert sorted(version.version for version in versions) == [1, 2, 3, 4, 5, 6]
    assert sorted(grid.functions("app"), key=lambda one: one.version) == sorted(versions, key=lambda one: one.version)


def test_the_same_deployment_at_once_is_one_version(grid: Grid, folder: Path) -> None:
    start = threading.Barrier(4)

    def deploy() -> FunctionVersion:
        start.wait()
        return grid.deploy("app", folder, handler="app.handler")

    assert len({str(version) for version in together([deploy] * 4)}) == 1
    assert [version.name for version in grid.functions("app")] == ["app:1"]


def test_removed_versions(grid: Grid, folder: Path) -> None:
    deployed(grid, folder)
    deployed(grid, folder, HANDLER + "# 2\n")
    assert functions.remove(plane_of(grid), "app", 2) == [2]
    assert functions.resolve(plane_of(grid), "app").version == 1
    with pytest.raises(FunctionNotFound, match="no version 2; it has 1"):
        grid.submit("app:2", [1])
    assert deployed(grid, folder, HANDLER + "# 2\n").version == 3, "a number is not given again"
    with pytest.raises(FunctionNotFound):
        functions.remove(plane_of(grid), "app", 0)
    assert functions.remove(plane_of(grid), "app") == [1, 3]
    with pytest.raises(FunctionNotFound, match="its versions were removed"):
        grid.submit("app", [1])
    with pytest.raises(FunctionNotFound):
        functions.remove(plane_of(grid), "app")
    assert grid.functions() == []
    assert deployed(grid, folder).version == 4


def test_functions_by_name(grid: Grid, folder: Path) -> None:
    for name in ("pricing", "Pricing-2", "pricing_2"):
        grid.deploy(name, folder, handler="app.handler")
    assert [version.function for version in grid.functions()] == ["Pricing-2", "pricing", "pricing_2"]


# Sessions


def test_a_session_keeps_its_version(grid: Grid, folder: Path) -> None:
    deployed(grid, folder, timeout=30, memory_mb=64, environment={"DESK": "rates"})
    session = grid.submit("app", [1])
    deployed(grid, folder, HANDLER + "# 2\n", timeout=60)
    spec = grid.session(session.id).spec
    assert spec.function.package is not None
    assert (spec.function.name, spec.function.package.version) == ("app:1", 1)
    assert (spec.task_timeout_seconds, spec.memory_mb) == (30, 64)
    assert spec.function.package.variables == {"DESK": "rates"}
    assert grid.submit("app", [1]).spec.function.name == "app:2"
    assert grid.submit("app:1", [1]).spec.function.name == "app:1"


def test_submit_says_otherwise(grid: Grid, folder: Path) -> None:
    deployed(grid, folder, timeout=30, memory_mb=64)
    spec = grid.submit("app", [1], task_timeout=5, memory_mb=128).spec
    assert (spec.task_timeout_seconds, spec.memory_mb) == (5, 128)


def test_a_token_keeps_its_version(grid: Grid, folder: Path) -> None:
    """Tried again after a deployment, a submission is still the same one."""
    deployed(grid, folder, timeout=30)
    first = grid.submit("app", [1, 2], token="nightly")
    deployed(grid, folder, HANDLER + "# 2\n", timeout=60)
    assert grid.submit("app", [1, 2], token="nightly").id == first.id
    functions.remove(plane_of(grid), "app", 1)
    assert grid.submit("app", [1, 2], token="nightly").id == first.id
    with pytest.raises(SessionConflict):
        grid.submit("app:2", [1, 2], token="nightly")
    with pytest.raises(SessionConflict):
        grid.submit("app", [1, 3], token="nightly")


@pytest.mark.parametrize(
    "name", ["nobody", "nobody:1", "app:2", "app:", "app:x", "app:-1", "app:0", ":1", "app:1:1", ""]
)
def test_what_is_not_deployed(grid: Grid, folder: Path, name: str) -> None:
    deployed(grid, folder)
    with pytest.raises(FunctionNotFound):
        grid.submit(name, [1])


def test_a_pickle_is_for_callables(grid: Grid, folder: Path) -> None:
    deployed(grid, folder)
    with pytest.raises(InvalidInput, match="takes JSON"):
        grid.submit("app", [1], codec="pickle")
