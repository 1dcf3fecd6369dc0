"""One real `prefect server` for all of these tests, with a home of its own, and a grid for each test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.support import fresh_grid

START_SECONDS = 240.0  # it migrates its database first, on a machine that may be busy


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Prefect reads its settings when it is first imported, so they are in the environment before that.
HOME = Path(tempfile.mkdtemp(prefix="htcgrid-prefect-"))
PORT = _free_port()
API_URL = f"http://127.0.0.1:{PORT}/api"
for name in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[name]
os.environ |= {
    "PREFECT_HOME": str(HOME),
    "PREFECT_API_URL": API_URL,
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
    "PREFECT_CLI_PROMPT": "false",
}


def start_server() -> subprocess.Popen[bytes]:
    """Start the server on this session's port and wait until it answers."""
    log = (HOME / "server.log").open("ab")
    # `prefect server start` would run this same module, as a child that a SIGKILL of its parent leaves behind.
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app",
         "--host", "127.0.0.1", "--port", str(PORT), "--log-level", "warning"],
        env={
            **os.environ,
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "0.2",
        },
        stdout=log,
        stderr=log,
    )  # fmt: skip
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(timeout=5) as client:
        while True:
            try:
                if client.get(f"{API_URL}/health").status_code == 200:
                    return process
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                stop_server(process)
                pytest.fail(f"the Prefect server did not start:\n{(HOME / 'server.log').read_text()[-4000:]}")
            time.sleep(0.1)


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """End the server."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class RunningServer:
    """The server while the tests run."""

    def __init__(self) -> None:
        self._process = start_server()

    def restart(self) -> None:
        """Start it again, after it is gone."""
        self.stop()
        self._process = start_server()

    def stop(self) -> None:
        """End it."""
        stop_server(self._process)


@pytest.fixture(scope="session")
def running_server() -> Iterator[RunningServer]:
    """The server, for tests that restart it."""
    server = RunningServer()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def prefect_server(running_server: RunningServer) -> str:
    """The API's URL of the server that every test of this folder talks to."""
    return API_URL


@pytest.fixture
def grid_url(tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh grid; its agents are gone after the test."""
    with fresh_grid(tmp_path / "grid") as url:
        yield url


@pytest.fixture(scope="session")
def shared_grid_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one grid for all tests that do not harm it: its workers have Prefect loaded already."""
    with fresh_grid(tmp_path_factory.mktemp("shared") / "grid", idle=60) as url:
        yield url
