"""A grid with its server, and a browser that the printed address has let in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from htcgrid_core import Grid, connect
from tests.browser import browsing
from tests.console.looking import Console
from tests.e2e.support import fresh_grid
from tests.served import Server, serving


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a grid."""
    with fresh_grid(tmp_path_factory.mktemp("console") / "grid") as url:
        yield url


@pytest.fixture(scope="module")
def grid(url: str) -> Iterator[Grid]:
    """That grid, for who submits."""
    with connect(url) as connected:
        yield connected


@pytest.fixture(scope="module")
def server(url: str, grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its server."""
    grid.wake()
    link = "DAG run=https://airflow.example/dags/{airflow.dag}/runs/{airflow.run}"
    with serving(url, tmp_path_factory.mktemp("keys") / "keys.json", "--link", link) as server:
        yield server


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """One for all tests of a module: each begins on a page of its own."""
    with browsing(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def signed_in(browser: WebDriver, server: Server) -> Console:
    """After the one-time address was opened."""
    console = Console(browser, server.url)
    browser.get(server.console)
    console.until("Sessions")
    return console


@pytest.fixture
def console(signed_in: Console) -> Iterator[Console]:
    """The same, of which the browser has nothing to complain afterwards."""
    signed_in.browser.get_log("browser")  # type: ignore[no-untyped-call] # what was before
    yield signed_in
    assert not signed_in.complaints()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file for which tasks wait."""
    return tmp_path / "gate"
