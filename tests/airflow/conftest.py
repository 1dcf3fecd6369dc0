"""An Airflow home and a grid of their own for the tests of this folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before Airflow is imported, which makes its home, a configuration and a log folder there.
HOME = tempfile.mkdtemp(prefix="htcgrid-airflow-")
os.environ["AIRFLOW_HOME"] = HOME
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).with_name("dags"))
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
# Nobody is to be waited for that a test does not wait for.
os.environ["AIRFLOW__HTCGRID__DEFER_AFTER"] = os.environ["AIRFLOW__HTCGRID__RESUME_AFTER"] = "0"

from htcgrid_core import Grid, connect  # noqa: E402 - the home comes first
from tests.e2e.support import fresh_grid  # noqa: E402


@pytest.fixture(scope="session")
def grid_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a grid of these tests' own, since agents take seconds to start; they are gone afterwards."""
    with fresh_grid(tmp_path_factory.mktemp("grid"), slots=4, idle=60) as url:
        yield url


@pytest.fixture(scope="session")
def grid(grid_url: str) -> Iterator[Grid]:
    """A connection to it."""
    with connect(grid_url) as connected:
        yield connected


def pytest_unconfigure() -> None:
    """Leave no home behind."""
    import shutil

    shutil.rmtree(HOME, ignore_errors=True)
