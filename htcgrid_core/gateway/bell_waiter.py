"""Waiting for news by a doorbell, with a slow poll as the safety net."""

from __future__ import annotations

from collections.abc import Collection
from types import TracebackType
from typing import Self

from htcgrid_core.domain import limits
from htcgrid_core.gateway.deployment import Deployment
from htcgrid_core.gateway.in_tasks import wait_for
from htcgrid_core.gateway.paces import Paces
from htcgrid_core.ports.doorbell import COMMITS

WAKE_EVERY_SECONDS = 2.0  # a waiter looks this often whether agents still run


class BellWaiter:
    """Wakes at each commit and transition of any session.

    Args:
        paces: of sessions whose bells are not heard here: as one of them ends, it is looked at more often.
    """

    def __init__(self, deployment: Deployment, paces: Paces | None = None) -> None:
        self._deployment = deployment
        self._paces = paces
        # A bell may have rung before this was there. From another machine none rings: then it looks soon, by itself.
        self.knows_the_end = not deployment.same_machine
        self._clock = deployment.plane.clock
        self._bell = deployment.borrow_bell()
        self._wake_at = self._clock.monotonic() + WAKE_EVERY_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            wait_for(self._deployment.plane, self, ())
        finally:
            self._deployment.return_bell(self._bell)

    def wait(self, timeout_seconds: float | None, session_ids: Collection[str] = ()) -> None:
        """Return at the next ring, or after a poll's time, or after the timeout."""
        wait_for(self._deployment.plane, self, session_ids)
        pause = limits.CLIENT_POLL_SECONDS
        if self._paces is not None and len(session_ids) == 1:
            pause = min(pause, *map(self._paces.look_within, session_ids))
        self._bell.wait(pause if timeout_seconds is None else min(pause, timeout_seconds))
        now = self._clock.monotonic()
        if now >= self._wake_at:
            self._wake_at = now + WAKE_EVERY_SECONDS
            self._deployment.wake()

    def wait_for_end(self, timeout_seconds: float | None, session_id: str) -> None:
        """A bell does not say of what it rings."""
        self.wait(timeout_seconds, (session_id,))

    def interrupt(self) -> None:
        """Let ``wait`` return: for other threads."""
        self._deployment.plane.doorbell.ring(COMMITS)
