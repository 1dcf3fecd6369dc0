"""A grid for each runtime, which all tests of a module share: it has to stand what handlers do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from htcgrid_core import Grid, connect
from htcgrid_core.agent.workers import NATIVE_VARIABLE
from tests.e2e.support import fresh_grid

FUNCTIONS = Path(__file__).parent / "functions"
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


@dataclass(frozen=True)
class Deployed:
    """A grid on which the functions of a runtime are deployed: ``app``, ``broken_import`` and ``broken_exit``."""

    grid: Grid
    runtime: Runtime


@pytest.fixture(scope="module", params=RUNTIMES, ids=lambda runtime: str(runtime.name))
def deployed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Each runtime's."""
    runtime: Runtime = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NATIVE_VARIABLE, "1" if runtime.native else "0")
        patch.setenv("HTCGRID_TEST_SECRET", "not for handlers")
        with fresh_grid(tmp_path_factory.mktemp("grid")) as url, connect(url) as grid:
            for module in ("app", "broken_import", "broken_exit"):
                grid.deploy(
                    module,
                    FUNCTIONS / runtime.folder,
                    handler=f"{module}.handler",
                    runtime=runtime.runtime,
                    timeout=30,
                    memory_mb=None if runtime.folder == "node" else MEMORY_MB,
                    environment={"DESK": "rates"},
                )
            yield Deployed(grid, runtime)
    assert os.environ.get("HTCGRID_TEST_SECRET") is None
