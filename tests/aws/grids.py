"""Grids on an emulator: bootstrapped, with agents in processes of their own, as users have them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.settings import AwsSettings
from htcgrid_core.cloud.address import Address
from htcgrid_core.cloud.bootstrap import bootstrap
from tests.aws.emulators import REGION, REPOSITORY, Account

PROGRAM = str(Path(sys.executable).with_name("htcgrid"))
NAME = "book"
END_SECONDS = 40.0


def settings_of(account: Account) -> AwsSettings:
    """How to reach an emulated account; its key is taken from the environment."""
    return AwsSettings(endpoint=account.url, region=REGION)


def clients_of(account: Account) -> Clients:
    """Clients with the account's keys: a test without a whole grid needs no variables."""
    return Clients(settings_of(account), account.session())


def url_of(account: Account, name: str = NAME) -> str:
    """The grid's URL."""
    return f"aws://{name}?region={REGION}&endpoint={quote(account.url, safe=':/')}"


class CloudUnderTest:
    """A grid on an emulator, and the agents that a test started."""

    def __init__(self, account: Account, folder: Path) -> None:
        self.account = account
        self.url = url_of(account)
        self.environment = {
            **os.environ, **account.environment, "PYTHONPATH": str(REPOSITORY), "HTCGRID_CACHE": str(folder / "cache"),
            "HTCGRID_LEASE_SECONDS": "3", "KUBECONFIG": str(folder / "none"),
        }  # fmt: skip
        self._folder = folder
        self._agents: list[subprocess.Popen[bytes]] = []

    def start_agent(self, *options: str, slots: int = 2, **variables: str) -> subprocess.Popen[bytes]:
        """``htcgrid agent``, in a process group of its own."""
        return self._start([PROGRAM, "agent", "--url", self.url, "--slots", str(slots), *options], variables)

    def start_skewed_agent(self, seconds: float) -> subprocess.Popen[bytes]:
        """An agent whose wall clock is ahead by so many seconds, or behind."""
        return self._start([sys.executable, "-m", "tests.aws.skewed_agent", self.url, str(seconds)], {})

    def _start(self, command: list[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
        with open(self._folder / f"agent-{len(self._agents)}.log", "wb") as log:
            agent = subprocess.Popen(
                command,
                env={**self.environment, **variables},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._agents.append(agent)
        return agent

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command of the command line, to its end."""
        environment = {**self.environment, "HTCGRID_URL": self.url, **variables}
        return subprocess.run(
            [PROGRAM, *command], env=environment, cwd=self._folder, capture_output=True, text=True, timeout=END_SECONDS
        )

    def call(self, module: str, **variables: str) -> str:
        """A module run as a program with the grid's URL, to its end; what it prints."""
        command = [sys.executable, "-m", module, self.url]
        done = subprocess.run(
            command,
            env={**self.environment, **variables},
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def logs(self) -> str:
        """What the agents said."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self._folder.glob("agent-*.log")))

    def end(self) -> None:
        """No agent is left."""
        for agent in self._agents:
            if agent.poll() is None:
                agent.send_signal(signal.SIGCONT)
                agent.kill()
            agent.wait()


@contextmanager
def cloud(account: Account, folder: Path, monkeypatch: pytest.MonkeyPatch, *pools: str) -> Iterator[CloudUnderTest]:
    """A grid; this process's environment has the account's keys."""
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTCGRID_CACHE", str(folder / "client-cache"))
    bootstrap(Address(NAME, settings_of(account)), pools or ("default",))
    grid = CloudUnderTest(account, folder)
    try:
        yield grid
    finally:
        grid.end()
