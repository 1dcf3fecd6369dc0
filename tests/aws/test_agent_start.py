"""SIGTERM before an agent serves: it goes at once, says so, and is no failure."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path

from tests.aws.emulators import Account
from tests.aws.grids import PROGRAM, url_of


def test_told_to_leave_while_it_looks_for_its_grid(tmp_path: Path) -> None:
    """AWS takes its call, and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(60)
        account = Account(f"http://127.0.0.1:{silent.getsockname()[1]}", "1" * 12)
        environment = {"PATH": "/usr/bin:/bin", **account.environment, "HTCGRID_CACHE": str(tmp_path)}
        agent = subprocess.Popen(
            [PROGRAM, "agent", "--url", url_of(account)], env=environment, stderr=subprocess.PIPE, text=True
        )
        connection, _ = silent.accept()
        with connection:
            agent.send_signal(signal.SIGTERM)
            _, said = agent.communicate(timeout=60)
    assert agent.returncode == 0, said
    (line,) = [json.loads(each) for each in said.splitlines()]
    assert (line["event"], line["signal"]) == ("left before it served", "SIGTERM")
