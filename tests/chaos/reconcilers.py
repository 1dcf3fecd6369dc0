"""A reconciler that is brought back whenever it was killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType

from tests.aws.emulators import REPOSITORY


class Reconciler:
    """One, for the time of a ``with`` block.

    Attributes:
        killed: how often it was found dead.
    """

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        self.killed = 0
        self._command = [sys.executable, "-m", "tests.chaos.reconciler", url]
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        """Start it, if it does not run."""
        if self._process is not None and self._process.poll() is None:
            return
        self.killed += self._process is not None
        self._process = subprocess.Popen(
            self._command, env=self._environment, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def pids(self) -> list[int]:
        """Its own, if it runs."""
        process = self._process
        return [] if process is None or process.poll() is not None else [process.pid]

    def __enter__(self) -> Reconciler:
        self.keep()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
