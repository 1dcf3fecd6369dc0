"""A server under test: started under a supervisor, killed with everything below it."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).parents[3]
SUPERVISOR = Path(__file__).with_name("supervisor.py")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One process and its descendants; what it prints goes to a file."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._supervisor = subprocess.Popen(
                [sys.executable, str(SUPERVISOR), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )

    def processes(self) -> list[psutil.Process]:
        """The server and what it started, detached daemons too."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self._supervisor.pid).children(recursive=True)
        return []

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to what it started in its own session."""
        for process in self._own():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _own(self) -> list[psutil.Process]:
        """Without the grid's agents, which detach themselves and survive their starter in production too."""
        return [p for p in self.processes() if not _is_agent(p)]

    def stop(self) -> None:
        """End everything, at once."""
        if self._supervisor.stdin is not None:
            self._supervisor.stdin.close()
        try:
            self._supervisor.wait(30)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            raise

    def tail(self, lines: int = 40) -> str:
        """The last lines that it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _is_agent(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        for ancestor in (process, *process.parents()):
            if any("htcgrid_core" in word for word in ancestor.cmdline()):
                return True
    return False
