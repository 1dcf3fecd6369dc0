"""Pods that go: told to and in time, too late, or killed. What was redelivered is counted; nothing is lost."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from htcgrid_core import connect
from tests.aws.conftest import aws_cloud as aws_cloud
from tests.aws.grids import CloudUnderTest
from tests.e2e.support import ended, eventually

TASKS = 24


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "grace"),
    [(signal.SIGTERM, "2"), (signal.SIGTERM, "0"), (signal.SIGKILL, "2")],
    ids=["in-time", "too-late", "killed"],
)
def test_a_pod_goes(aws_cloud: CloudUnderTest, tmp_path: Path, number: signal.Signals, grace: str) -> None:
    """While its tasks run; another one takes what it leaves."""
    notes = tmp_path / "notes"
    with connect(aws_cloud.url) as grid:
        first = aws_cloud.start_agent(HTCGRID_DRAIN_GRACE_SECONDS=grace)
        events = [{"seconds": 0.5, "n": n, "file": str(notes)} for n in range(TASKS)]
        session = grid.submit("tests.e2e.handlers.sleep", events, bundle_size=4)
        eventually(lambda: notes.exists() and len(notes.read_text().splitlines()) >= 3, "it works")
        first.send_signal(number)
        code = first.wait(timeout=60)
        assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL), aws_cloud.logs()
        aws_cloud.start_agent()
        assert ended(session).completed == TASKS
        assert sorted(session.results()) == list(range(TASKS)), "lost: 0"
    begun = [line.split()[1] for line in notes.read_text().splitlines()]
    redelivered = len(begun) - len(set(begun))
    print(
        json.dumps({"drill": number.name, "grace": grace, "redelivered": redelivered, "lost": TASKS - len(set(begun))})
    )
    assert set(begun) == {str(n) for n in range(TASKS)}
    if grace == "2" and number == signal.SIGTERM:
        assert redelivered == 0, "what ran was let end"
