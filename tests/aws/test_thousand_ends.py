"""A thousand sessions that end within a second: told within ten, in few calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.aws.bench.telling import CALLS_A_SESSION, SESSIONS, WITHIN_SECONDS, in_virtual_time, on_an_emulator
from tests.aws.grids import CloudUnderTest


def test_told_within_ten_seconds(tmp_path: Path) -> None:
    """By one agent alone, with the latencies of AWS in virtual time."""
    told = in_virtual_time(tmp_path)
    print(told)
    assert told.rows == 2 * SESSIONS
    assert told.seconds <= WITHIN_SECONDS
    assert told.task_calls <= CALLS_A_SESSION
    assert told.queue_calls <= 0.5
    assert told.calls["of"] + told.calls["get"] + told.calls["replace"] <= 5.2 * SESSIONS  # two recipients each


@pytest.mark.parametrize("sessions", [60, pytest.param(SESSIONS, marks=pytest.mark.slow)])
def test_few_calls(aws_cloud: CloudUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sessions: int) -> None:
    """At the wire, those that botocore repeats included."""
    told = on_an_emulator(aws_cloud.account, aws_cloud.url, tmp_path, monkeypatch, sessions)
    print(told)
    assert told.rows == 2 * sessions
    assert told.task_calls <= CALLS_A_SESSION
    assert told.queue_calls <= 0.5
