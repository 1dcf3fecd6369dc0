"""A grid for each runtime, which all tests of a module share: it has to stand what handlers do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, connect
from htcgrid_core.agent.variables import NATIVE_VARIABLE
from tests.e2e.support import fresh_grid
from tests.runtimes.both import PROBE, Both, both_kinds

FUNCTIONS = Path(__file__).parent / "functions"
NPM = Path(__file__).parents[2] / ".node" / "node_modules"  # `make .node/ready` fills it
MEMORY_MB = 1024


@dataclass(frozen=True)
class Runtime:
    """How the functions of one folder are run.

    Attributes:
        name: for people.
        folder: of the handlers.
        runtime: as it is deployed; None for this Python's.
        native: whether this Python's functions run in native workers.
    """

    name: str
    folder: str
    runtime: str | None = None
    native: bool = True

    @property
    def is_node(self) -> bool:
        """Whether it runs in Node, which reserves more memory than it uses."""
        return self.folder in ("node", "npm")

    @property
    def is_python(self) -> bool:
        """Whether the handlers are Python's."""
        return self.folder == "python"


RUNTIMES = [
    Runtime("native", "python"),
    Runtime("awslambdaric", "python", native=False),
    Runtime("shell", "shell", "provided.al2023"),
]
if shutil.which("node"):
    RUNTIMES.append(Runtime("node", "node", "provided.al2023"))
AWS_LAMBDA_RIC = Runtime("aws-lambda-ric", "npm", "provided.al2023")
EVERY: list[Any] = [*RUNTIMES]
if (NPM / "aws-lambda-ric" / "rapid-client.node").exists():  # else `make test-all` has said what is missing
    EVERY.append(pytest.param(AWS_LAMBDA_RIC, marks=pytest.mark.slow))


@dataclass(frozen=True)
class Deployed:
    """A grid on which the functions of a runtime are deployed: ``app``, ``broken_import`` and ``broken_exit``."""

    grid: Grid
    runtime: Runtime


@pytest.fixture(scope="module", params=EVERY, ids=lambda runtime: str(runtime.name))
def deployed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Each runtime's."""
    runtime: Runtime = request.param
    folder = FUNCTIONS / runtime.folder
    if runtime is AWS_LAMBDA_RIC:
        folder = tmp_path_factory.mktemp("npm") / "package"
        shutil.copytree(FUNCTIONS / "npm", folder)
        shutil.copytree(NPM / "aws-lambda-ric", folder / "node_modules" / "aws-lambda-ric")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NATIVE_VARIABLE, "1" if runtime.native else "0")
        patch.setenv("HTCGRID_TEST_SECRET", "not for handlers")
        with fresh_grid(tmp_path_factory.mktemp("grid")) as url, connect(url) as grid:
            for module in ("app", "broken_import", "broken_exit"):
                grid.deploy(
                    module,
                    folder,
                    handler=f"{module}.handler",
                    runtime=runtime.runtime,
                    timeout=30,
                    memory_mb=None if runtime.is_node else MEMORY_MB,
                    environment={"DESK": "rates"},
                )
            yield Deployed(grid, runtime)
    assert os.environ.get("HTCGRID_TEST_SECRET") is None


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both kinds of worker of Python's handlers, with the functions that tell what they find."""
    with both_kinds(tmp_path_factory.mktemp("both")) as found:
        found.deploy("probe", PROBE, "probe.handler", memory_mb=512)
        own = {"AWS_REGION": "eu-west-1", "TZ": "Europe/London", "AWS_LAMBDA_LOG_FORMAT": "JSON"}
        found.deploy("own", PROBE, "probe.handler", environment=own)
        found.deploy("returns", PROBE, "returns.handler")
        yield found
