"""``htcgrid events`` on a grid on AWS, as its users run it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from htcgrid_core import Grid
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.services.reconcile import reconcile
from tests.aws.grids import PROGRAM, CloudUnderTest

NOOP = "tests.e2e.handlers.echo"


def test_follows_and_goes_on(aws_cloud: CloudUnderTest, aws_grid: Grid, tmp_path: Path) -> None:
    """What was before, what comes while it looks, and, after a kill, what came meanwhile."""
    planes = open_cloud(parse_aws(aws_cloud.url))

    def cancelled(**labels: str) -> str:
        session = aws_grid.submit(NOOP, [1], labels=labels)
        session.cancel()
        reconcile(planes.plane, 1.0)
        return session.id

    first = cancelled(desk="rates")
    command = [PROGRAM, "events", "--url", aws_cloud.url, "--follow", "--since", "1h", "--cursor", "ends.cursor"]
    follow = subprocess.Popen(
        [*command, "--label", "desk=rates"],
        cwd=tmp_path, env=aws_cloud.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with follow:
        try:
            assert follow.stdout is not None
            told = [json.loads(follow.stdout.readline()) for _ in range(2)]
            cancelled(desk="fx")
            second = cancelled(desk="rates")
            told += [json.loads(follow.stdout.readline()) for _ in range(2)]
        finally:
            follow.send_signal(signal.SIGKILL)
    assert {(event["type"].rpartition(".")[2], event["subject"]) for event in told} == {
        (kind, session) for kind in ("submitted", "cancelled") for session in (first, second)
    }
    third = cancelled(desk="rates")
    went_on = subprocess.run(
        [PROGRAM, "events", "--url", aws_cloud.url, "--cursor", "ends.cursor", "--label", "desk=rates"],
        cwd=tmp_path, env=aws_cloud.environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    rest = [json.loads(line) for line in went_on.stdout.splitlines()]
    assert {event["type"].rpartition(".")[2] for event in rest if event["subject"] == third} == {
        "submitted", "cancelled",
    }  # fmt: skip
    assert first not in {event["subject"] for event in rest}, "it was told a while ago"
    planes.close()
