"""Waiting for a session: its doorbell, with a slow poll as the safety net."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from htcgrid_core.domain import limits
from htcgrid_core.domain.session import SessionRecord

if TYPE_CHECKING:
    from htcgrid_core.client.deployment import Deployment

WAKE_EVERY_SECONDS = 2.0  # a waiter looks this often whether agents still run


class Waiter:
    """Wakes at each commit and transition."""

    def __init__(self, deployment: Deployment) -> None:
        self.plane = deployment.plane
        self._deployment = deployment
        self._bell = deployment.borrow_bell()
        self._wake_at = self.plane.clock.monotonic() + WAKE_EVERY_SECONDS

    def __enter__(self) -> Waiter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deployment.return_bell(self._bell)

    def wait(self, timeout_seconds: float | None) -> None:
        """Return at the next ring, or after a poll's time, or after the timeout."""
        pause = limits.CLIENT_POLL_SECONDS
        self._bell.wait(pause if timeout_seconds is None else min(pause, timeout_seconds))
        now = self.plane.clock.monotonic()
        if now >= self._wake_at:
            self._wake_at = now + WAKE_EVERY_SECONDS
            self._deployment.wake()

    def problems(self) -> list[str]:
        """What agents say keeps them from working."""
        agents = self.plane.store.agents(self.plane.clock.now())
        return [f"agent {agent.agent_id}: {agent.problem}" for agent in agents if agent.problem]


def ended_within(waiter: Waiter, record: SessionRecord, timeout: float | None) -> SessionRecord:
    """Wait for the session's end; return its row, ended or not."""
    clock = waiter.plane.clock
    deadline = None if timeout is None else clock.monotonic() + timeout
    while not record.ended:
        record = waiter.plane.store.session(record.session_id, clock.now())
        if record.ended:
            break
        left = None if deadline is None else deadline - clock.monotonic()
        if left is not None and left <= 0:
            break
        waiter.wait(left)
    return record
