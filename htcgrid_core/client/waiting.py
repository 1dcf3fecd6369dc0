"""Waiting for the end of a session."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator

from htcgrid_core.domain.errors import GridError
from htcgrid_core.domain.patience import Patience
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.protocol import Gateway, Waiter

_log = logging.getLogger(__name__)


def new_patience() -> Patience:
    """Of one who waits in this process, and logs what is borne."""
    return Patience(monotonic=time.monotonic, sleep=time.sleep, say=_log.warning)


def looks(
    gateway: Gateway, waiter: Waiter, session_id: str, timeout: float | None, patience: Patience
) -> Iterator[SessionRecord]:
    """The session's row, now and after each news, until it has ended or the time is over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        record = None
        try:
            record = gateway.session(session_id)
        except GridError as error:
            patience.bear(error)
        else:
            patience.rewarded()
            yield record
            if record.ended:
                return
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return
        if record is None:
            patience.pause(left)
        else:
            waiter.wait(left, (session_id,))


def ended_within(
    gateway: Gateway, waiter: Waiter, record: SessionRecord, timeout: float | None, patience: Patience
) -> SessionRecord:
    """Wait for the session's end; return its row, ended or not."""
    if record.ended:
        return record
    seen = deque(looks(gateway, waiter, record.session_id, timeout, patience), maxlen=1)
    return seen[0] if seen else record  # not one read succeeded in the time


def problems(gateway: Gateway) -> list[str]:
    """What agents say keeps them from working."""
    return [f"agent {agent.agent_id}: {agent.problem}" for agent in gateway.agents() if agent.problem]
