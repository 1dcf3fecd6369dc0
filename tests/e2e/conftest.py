"""A grid of its own for each test that asks for one, and one for each module whose tests do not harm it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import Grid, connect
from tests.e2e.over_http import CHOSEN, ONLY_HERE, OVER_HTTP, connecting_over_http
from tests.e2e.support import fresh_grid


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that know a grid by its client alone run over HTTP too."""
    module = metafunc.module.__name__.rpartition(".")[2]
    if module in OVER_HTTP and metafunc.function.__name__ not in ONLY_HERE:
        marks = () if module in CHOSEN else (pytest.mark.slow,)
        metafunc.parametrize("way", ["here", pytest.param("http", marks=marks)], indirect=True)


@pytest.fixture(autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """How the test's process reaches its grid."""
    if getattr(request, "param", "here") == "http":
        with connecting_over_http(monkeypatch):
            yield "http"
    else:
        yield "here"


@pytest.fixture
def grid_url(tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh grid; its agents are gone after the test."""
    with fresh_grid(tmp_path / "grid") as url:
        yield url


@pytest.fixture
def grid(grid_url: str) -> Iterator[Grid]:
    """A connection to a fresh grid."""
    with connect(grid_url) as connected:
        yield connected


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one grid for all tests of a module, so that its agents are started once."""
    with fresh_grid(tmp_path_factory.mktemp("module") / "grid") as url:
        yield url
