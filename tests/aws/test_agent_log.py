"""An agent's log: JSON lines that name session, bundle, task, attempt and trace, and no payload at any level."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, RetryPolicy
from htcgrid_core.cloud.logs import configure
from htcgrid_core.domain.log_context import LogContext
from htcgrid_core.domain.trace import of_session
from tests.aws.grids import CloudUnderTest
from tests.e2e.support import ended

CANARY = "canary-7f3a"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where this process logs during a test; logging is as it was afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("htcgrid_core")
    before = root.handlers, root.level, ours.level
    yield io.StringIO()
    root.handlers, root.level, ours.level = before
    root.setLevel(before[1])
    ours.setLevel(before[2])


def lines(text: str) -> list[dict[str, Any]]:
    """A log, each of whose lines is one JSON object."""
    return [json.loads(line) for line in text.splitlines()]


def leak(event: dict[str, str]) -> str:
    """Tell a secret wherever a task can."""
    print(event["secret"])
    if event["how"] == "raise":
        raise ValueError(event["secret"])
    if event["how"] == "die":
        sys.stderr.write(event["secret"])
        sys.stderr.flush()
        os._exit(3)
    return event["secret"]


def told(log: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    """The lines of one event."""
    return [line for line in log if line["event"] == event]


def test_the_log_of_an_agent(
    aws_cloud: CloudUnderTest, aws_grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-00f067aa0ba902b7-01")
    agent = aws_cloud.start_agent("--log-level", "debug")
    events = [{"how": how, "secret": CANARY} for how in ("well", "raise", "die")]
    quick = RetryPolicy(max_attempts=2, backoff_base_seconds=0.05)
    session = aws_grid.submit(leak, events, retry=quick, name=CANARY, bundle_size=3)
    ended(session)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=60) == 0
    text = (tmp_path / "agent-0.log").read_text()
    assert CANARY not in text
    log = lines(text)
    assert {line["agent"] for line in log} == {log[0]["agent"]}
    assert all({"timestamp", "level", "logger", "event"} <= line.keys() for line in log)
    for event in ("claimed", "committed", "an attempt failed"):
        assert told(log, event)
        for line in told(log, event):
            assert (line["session"], line["trace_id"]) == (session.id, TRACE)
            assert line["bundle"]
    trace = of_session(session.id, session.spec.traceparent, "")
    failed = told(log, "an attempt failed")
    assert {(line["task"], line["attempt"], line["is_retried"]) for line in failed} == {
        (1, 1, True), (1, 2, False), (2, 1, True), (2, 2, False),
    }  # fmt: skip
    assert {line["span_id"] for line in failed} == {
        trace.attempt(session.id, index, attempt).span_id for index in (1, 2) for attempt in (1, 2)
    }
    assert {line["error"] for line in failed if line["task"] == 2} == {"WorkerCrashed"}
    assert told(log, f"session {session.id} is FAILED")
    assert told(log, "serving")
    assert told(log, "left")


def test_no_more_than_a_few_failures_of_a_bundle(aws_cloud: CloudUnderTest, aws_grid: Grid, tmp_path: Path) -> None:
    agent = aws_cloud.start_agent()
    once = RetryPolicy(max_attempts=1)
    ended(aws_grid.submit("tests.e2e.handlers.fail_odd", [1] * 40, retry=once, bundle_size=40))
    agent.send_signal(signal.SIGTERM)
    agent.wait(timeout=60)
    log = lines((tmp_path / "agent-0.log").read_text())
    assert len(told(log, "an attempt failed")) == 5
    assert not told(log, "committed")  # nor what is only for debugging


def test_a_line_carries_what_it_is_about(stream: io.StringIO) -> None:
    configure("info", "json", stream, agent="agent-1")
    log = logging.getLogger("htcgrid_core.test")
    with LogContext(session="s-1", bundle="b"), LogContext(bundle="c"):
        log.info("deep %s", "down", extra={"task": 3})
    log.warning("up")
    log.debug("unheard")
    logging.getLogger("botocore").info("unheard, too")
    logging.getLogger("botocore").warning("heard")
    deep, up, heard = lines(stream.getvalue())
    assert (deep["event"], deep["session"], deep["bundle"], deep["task"]) == ("deep down", "s-1", "c", 3)
    assert "session" not in up
    assert (up["level"], heard["logger"], heard["agent"]) == ("warning", "botocore", "agent-1")


def test_an_exception_is_one_line(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("htcgrid_core.test").exception("failed")
    (line,) = lines(stream.getvalue())
    assert "ValueError: no" in line["exception"]


def test_text_for_people(stream: io.StringIO) -> None:
    configure("info", "text", stream)
    logging.getLogger("htcgrid_core.test").info("serving", extra={"slots": 4})
    assert "serving" in stream.getvalue()
    assert "slots=4" in stream.getvalue()
