"""Waiting for the end of a session."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from htcgrid_core.client.urls import url_option
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.errors import AccessDenied, GridError, WaitTimeout
from htcgrid_core.domain.patience import Patience
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.protocol import Gateway, Waiter

_log = logging.getLogger(__name__)


def new_patience() -> Patience:
    """Of one who waits in this process, and logs what is borne."""
    return Patience(monotonic=time.monotonic, sleep=time.sleep, say=_log.warning)


def looks(
    gateway: Gateway,
    wait: Callable[[float | None, str], None],
    session_id: str,
    timeout: float | None,
    patience: Patience,
) -> Iterator[SessionRecord]:
    """The session's row, now and after each wait, until it has ended or the time is over."""
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
            wait(left, session_id)


def ended_within(
    gateway: Gateway, waiter: Waiter, record: SessionRecord, timeout: float | None, patience: Patience
) -> SessionRecord:
    """Wait for the session's end; return its row, ended or not."""
    if record.ended:
        return record
    if waiter.knows_the_end:
        began = time.monotonic()
        waiter.wait_for_end(timeout, record.session_id)
        timeout = None if timeout is None else max(0.0, timeout - (time.monotonic() - began))
    seen = deque(looks(gateway, waiter.wait_for_end, record.session_id, timeout, patience), maxlen=1)
    return seen[0] if seen else record  # not one read succeeded in the time


def problems(gateway: Gateway) -> list[str]:
    """What agents say keeps them from working; nothing for whoever may not know agents."""
    try:
        return problems_of(gateway.agents())
    except AccessDenied:
        return []


def problems_of(agents: Iterable[AgentRecord]) -> list[str]:
    """The same, of agents that are known."""
    return [f"agent {agent.agent_id}: {agent.problem}" for agent in agents if agent.problem]


def how_to_come_back(session_id: str, url: str) -> str:
    """What is said to whoever stops waiting."""
    return (
        f"session {session_id} goes on: `htcgrid watch {session_id}{url_option(url)}` or grid.session(ID) come back to "
        "it, `htcgrid cancel` ends it"
    )


def timed_out(session_id: str, gateway: Gateway, what: str) -> WaitTimeout:
    """What is raised when the time to wait is over, with what keeps agents from working, if that can be read."""
    try:
        found = problems(gateway)
    except GridError:
        found = []
    told = f" ({'; '.join(found)})" if found else ""
    return WaitTimeout(
        f"session {session_id} {what}{told}: wait() or `htcgrid watch {session_id}{url_option(gateway.url)}` waits on, "
        "cancel() or `htcgrid cancel` ends it"
    )
