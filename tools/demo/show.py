"""What any engine's demo shows: the session while it runs, then the report."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from htcgrid_core import Grid, Session, connect

LOOK_SECONDS = 0.2
LOG_LINES = 40


def run(title: str, command: Sequence[str], env: Mapping[str, str], log: Path, url: str, name: str) -> int:
    """Run an engine's command with its output in a file, and show its sessions meanwhile; return its exit code.

    Args:
        name: of the sessions to show.
    """
    print(f"{title}\n  log: {log}", flush=True)
    with connect(url) as grid, log.open("wb") as output:
        shown = {session.id for session in grid.sessions()}
        engine = subprocess.Popen(command, env=dict(env), stdout=output, stderr=subprocess.STDOUT)
        try:
            while engine.poll() is None:
                for session in _new(grid, shown, name):
                    session.wait(progress=True)
                time.sleep(LOOK_SECONDS)
        finally:
            engine.terminate()
            engine.wait()
    if engine.returncode:
        print("\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:]), file=sys.stderr)
    return engine.returncode


def _new(grid: Grid, shown: set[str], name: str) -> list[Session]:
    """Sessions that were not shown yet."""
    found = [session for session in grid.sessions(limit=10) if session.name == name and session.id not in shown]
    shown.update(session.id for session in found)
    return found
