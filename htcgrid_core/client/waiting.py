"""Waiting for the end of a session."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.protocol import Gateway, Waiter


def looks(gateway: Gateway, waiter: Waiter, session_id: str, timeout: float | None) -> Iterator[SessionRecord]:
    """The session's row, now and after each news, until it has ended or the time is over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        record = gateway.session(session_id)
        yield record
        left = None if deadline is None else deadline - time.monotonic()
        if record.ended or (left is not None and left <= 0):
            return
        waiter.wait(left, (session_id,))


def ended_within(gateway: Gateway, waiter: Waiter, record: SessionRecord, timeout: float | None) -> SessionRecord:
    """Wait for the session's end; return its row, ended or not."""
    if record.ended:
        return record
    (latest,) = deque(looks(gateway, waiter, record.session_id, timeout), maxlen=1)
    return latest


def problems(gateway: Gateway) -> list[str]:
    """What agents say keeps them from working."""
    return [f"agent {agent.agent_id}: {agent.problem}" for agent in gateway.agents() if agent.problem]
