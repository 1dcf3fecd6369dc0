"""A grid and its server for the clients' own suites."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from htcgrid_core import connect
from tests.api_gateway import api_gateway
from tests.e2e.support import REPOSITORY, fresh_grid
from tests.served import Server, serving

CLIENTS = REPOSITORY / "clients"
FUNCTION = "puts"  # the handler of the examples, deployed
PATHS, BATCH_PATHS = 2000, 1000


@pytest.fixture(scope="session")
def grid_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The grid, for all of them."""
    with fresh_grid(tmp_path_factory.mktemp("clients") / "grid", slots=4) as url:
        yield url


@pytest.fixture(scope="session")
def server(grid_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that has the handler of the examples."""
    folder = tmp_path_factory.mktemp("served")
    with serving(grid_url, folder / "keys.json") as running:
        package = folder / "package"
        package.mkdir()
        (package / "longstaff_schwartz.py").write_bytes(
            (REPOSITORY / "example_dags" / "longstaff_schwartz.py").read_bytes()
        )
        with connect(running.url, api_token=running.token) as grid:
            grid.deploy(FUNCTION, package, handler="longstaff_schwartz.price")
        yield running


@pytest.fixture(scope="session")
def environment(server: Server) -> Mapping[str, str]:
    """What the suites and examples find their server by."""
    return {**os.environ, "HTCGRID_URL": server.url, "HTCGRID_API_TOKEN": server.token}


@pytest.fixture(scope="session")
def on_lambda(server: Server, grid_url: str, environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The same grid behind API Gateway and its function, whose answers hold little."""
    given = {"HTCGRID_URL": grid_url, "HTCGRID_KEY_FILE": str(server.key_file), "HTCGRID_TEST_PAGE_BYTES": "200000"}
    with api_gateway("tests.rest_function", given) as (url, _):
        yield {**environment, "HTCGRID_URL": url}


@pytest.fixture(scope="session")
def go() -> str:
    """The compiler of Go."""
    own = REPOSITORY / ".venv-go" / "bin" / "go"
    found = str(own) if own.exists() else shutil.which("go")
    if found is None:
        pytest.skip("Go is not installed: `make .venv-go/ready` installs it")
    return found


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str]) -> Path:
    """The client in Java and its examples, compiled."""
    if shutil.which("javac") is None:
        pytest.skip("javac is not installed (apt-get install openjdk-17-jdk-headless)")
    folder = tmp_path_factory.mktemp("java") / "classes"
    client = folder_of("java")
    sources = [*client.glob("src/main/java/htcgrid/*.java"), *client.glob("examples/*.java")]
    command = ["javac", "--release", "17", "-Xlint:all", "-Werror", "-d", str(folder), *map(str, sources)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def arguments(server: Server) -> list[str]:
    """Of each example."""
    return [server.url, FUNCTION, str(PATHS), str(BATCH_PATHS)]


@pytest.fixture(scope="session")
def table(environment: Mapping[str, str], arguments: list[str]) -> str:
    """The table that the example in Python prints."""
    command = [sys.executable, str(CLIENTS / "american_puts.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 21
    return done.stdout


def folder_of(client: str) -> Path:
    """A client's."""
    return CLIENTS / client
