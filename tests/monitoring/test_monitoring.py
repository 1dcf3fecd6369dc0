"""`make monitoring`: real series of running agents on a real Prometheus, which holds the alert rules."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from htcgrid_core import connect
from tests.aws.emulators import Account, ministack
from tests.aws.grids import cloud
from tests.e2e.support import ended, eventually
from tests.telemetry.scraping import serving_agent
from tools.docs.places import REPOSITORY
from tools.monitoring import __main__ as monitoring
from tools.monitoring import prometheus
from tools.monitoring.alerts import ALERTS

REFUSED = 'answer=~"throttled|failed"'


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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is missing: apt-get install prometheus")
def test_queries_that_ask_of_aws_have_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an agent of a grid on an emulator; `make monitoring` asks the others. Nothing was refused there."""
    asked = [query for query in monitoring.queries() if monitoring.AWS_ALONE.search(query)]
    found = [query for query in asked if REFUSED not in query]
    assert len(found) == len(asked) - 1
    with ministack() as emulator, cloud(Account(emulator, "100000000001"), tmp_path, monkeypatch) as grid:
        with (
            serving_agent(grid.url, "--slots", "2") as agent,
            prometheus.running(tmp_path, [urlsplit(agent).netloc]) as asking,
            connect(grid.url) as connected,
        ):
            ended(connected.submit("tests.e2e.handlers.double", range(10)))
            for query in found:
                eventually(lambda query=query: asking.query(query), f"series of {query}")
