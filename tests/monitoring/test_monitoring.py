"""`make monitoring`: real series of running agents on a real Prometheus, which holds the alert rules."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tools.docs.places import REPOSITORY
from tools.monitoring.alerts import ALERTS


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is missing: apt-get install prometheus")
def test_series_of_running_agents() -> None:
    """The command itself fails if a query of a dashboard that is of this kind of grid finds nothing."""
    command = [sys.executable, "-m", "tools.monitoring", "--once"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} alert rules, firing: none" in done.stdout
    series = dict(re.findall(r"^(htcgrid_\w+) .* together ([\d.,e+]+) ", done.stdout, re.MULTILINE))
    assert float(series["htcgrid_sessions_ended_total"].replace(",", "")) >= 1
    assert float(series["htcgrid_retries_total"].replace(",", "")) >= 2
    assert series["htcgrid_ready"] == "2"
    assert "'trace_id'" in done.stdout, "an exemplar came through"


def test_who_lacks_prometheus_is_told() -> None:
    """And nothing else goes wrong."""
    command = [sys.executable, "-m", "tools.monitoring", "--once"]
    environment = {"PATH": "/nowhere", "HOME": "/nonexistent"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 1
    assert "apt-get install prometheus" in done.stdout
    assert "Traceback" not in done.stderr
