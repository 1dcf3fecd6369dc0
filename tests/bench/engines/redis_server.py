"""A private Redis on a free loopback port that keeps nothing on disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time

from tests.bench.engines.base import UnavailableError

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 10.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """The server that Celery uses as its broker and its result store."""

    def __init__(self) -> None:
        """Start it and wait until it listens."""
        program = shutil.which("redis-server")
        if program is None:
            raise UnavailableError("redis-server is not installed: apt-get install redis-server")
        self.port = _free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="bench-redis-")
        options = ["--bind", LOOPBACK, "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [program, *options, "--dir", self.folder.name],
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        self._await_listening()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def _await_listening(self) -> None:
        give_up = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < give_up and self.process.poll() is None:
            try:
                socket.create_connection((LOOPBACK, self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.close()
        raise RuntimeError("redis-server did not start")

    def close(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()
