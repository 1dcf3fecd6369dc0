"""Doorbells: a wake-up for whoever waits, so that polling is only the safety net."""

from __future__ import annotations

from typing import Protocol

WORK = "work"  # a bundle may be ready, or a session has ended or is being cancelled: for agents
COMMITS = "commits"  # something was committed, or a session changed its state: for clients


class Bell(Protocol):
    """One listener."""

    def fileno(self) -> int:
        """A descriptor that is readable once the bell was rung; -1 if this grid has no doorbells."""

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until rung, and clear; False if the time ran out."""

    def clear(self) -> None:
        """Forget past rings."""

    def close(self) -> None:
        """Stop listening."""


class Doorbell(Protocol):
    """Rings all listeners of a topic. A ring may be lost; it never blocks and never fails."""

    def ring(self, *topics: str) -> None:
        """Wake the listeners of these topics."""

    def listen(self, *topics: str) -> Bell:
        """A bell for these topics."""
