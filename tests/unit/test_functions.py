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


@pytest.mark.parametrize(
    ("file", "handler"),
    [
        ("lambda-function.py", "lambda-function.handler"), ("01_ingest.py", "01_ingest.handler"),
        ("my-app/main.py", "my-app/main.handler"), ("my-app/main.py", "my-app.main.handler"),
        ("ünïcödé v2!.py".replace(" ", "-"), "ünïcödé-v2!.handler"),
    ],
)  # fmt: skip
def test_files_whose_names_are_no_identifiers(grid: Grid, folder: Path, file: str, handler: str) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(HANDLER)
    assert grid.deploy("app", folder, handler=handler).handler == handler


IMPORT = "from aws_durable_execution_sdk_python import durable_execution"


@pytest.mark.parametrize(
    "source",
    [
        f"{IMPORT}\n@durable_execution\ndef handler(event, context): ...\n",
        f"{IMPORT} as durable\n@durable(plugins=[])\ndef handler(event, context): ...\n",
        "import aws_durable_execution_sdk_python as sdk\n@sdk.durable_execution()\ndef handler(event, context): ...\n",
        "import aws_durable_execution_sdk_python.execution\n"
        "handler = aws_durable_execution_sdk_python.execution.durable_execution(print)\n",
        f"{IMPORT}\nhandler: object = durable_execution(print)\n",
        f"{IMPORT}\nhandler = logged(traced(of=durable_execution(print)), 1)\n",
    ],
)
def test_durable_functions_are_refused(grid: Grid, folder: Path, source: str) -> None:
    (folder / "durable.py").write_text(f"{source}def other(event, context): ...\n")
    with pytest.raises(InvalidInput, match=r"durable\.handler in durable\.py is a durable function"):
        grid.deploy("app", folder, handler="durable.handler")
    assert grid.functions() == []
    assert grid.deploy("app", folder, handler="durable.other").version == 1


@pytest.mark.parametrize(
    "source",
    [
        "exports.handler = withDurableExecution(async (event, context) => 1);",
        "export const handler = sdk.withDurableExecution(run);",
        "exports.handler = (0, sdk_1.withDurableExecution)(async (event, context) => 1);",
        "module.exports = { handler: withDurableExecution(run), other };",
        "module.exports = { handler: (0,sdk.withDurableExecution)(run) };",
    ],
)
def test_durable_functions_of_node_are_refused(grid: Grid, folder: Path, source: str) -> None:
    (folder / "bootstrap").write_text("#!/bin/sh\n")
    (folder / "index.mjs").write_text(f"{source}\nexport const other = 1;")
    with pytest.raises(InvalidInput, match=r"index\.handler in index\.mjs is a durable function"):
        grid.deploy("app", folder, handler="index.handler", runtime="provided.al2023")
    assert grid.deploy("app", folder, handler="index.other", runtime="provided.al2023").version == 1


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


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_LAMBDA_FUNCTION_NAME", "x", "is set by the runtime"), ("_HANDLER", "x", "is set by the runtime"),
        ("_X_AMZN_TRACE_ID", "x", "is set by the runtime"), ("HTCGRID_URL", "x", "is set by the runtime"),
        ("AWS_LAMBDA_LOG_FORMAT", "XML", "is one of JSON, Text, not 'XML'"),
        ("AWS_LAMBDA_LOG_LEVEL", "LOUD", "is one of TRACE, .*, not 'LOUD'"),
        ("AWS_LAMBDA_EXEC_WRAPPER", "/opt/wrapper", "native workers have none: .*runtime_client"),
    ],
)  # fmt: skip
def test_variables_that_are_not_a_functions_own(grid: Grid, folder: Path, variable: str, value: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=f"{variable}.*{said}"):
        grid.deploy("app", folder, handler="app.handler", environment={variable: value})
    assert grid.functions() == []


def test_variables_of_aws_that_are(grid: Grid, folder: Path) -> None:
    own = {
        "AWS_LAMBDA_LOG_FORMAT": "json", "AWS_LAMBDA_LOG_LEVEL": "TRACE", "AWS_REGION": "eu-west-1",
        "AWS_LAMBDA_DOTNET_PREJIT": "Always", "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
    }  # fmt: skip
    assert grid.deploy("app", folder, handler="app.handler", environment=own).variables == own
    wrapped = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}
    assert grid.deploy("app", folder, handler="app.handler", environment=wrapped, runtime_client=True).runtime_client


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
