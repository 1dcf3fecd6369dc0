"""The worker that this process is, if it is one: what a client inside of a task has to know, and to tell.

A worker sets it, and the gateway asks: neither knows the other.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class ThisWorker(Protocol):
    """A worker, for the clients of grids in its tasks.

    Attributes:
        grid: what tells the grid whose tasks it runs from others; empty if its agent is of a release that tells nobody.
        is_loading: whether it is importing a function that it was given, before any task.
    """

    grid: str
    is_loading: bool

    @property
    def is_this_process(self) -> bool:
        """Whether it is not its child, which cannot speak for it."""

    def waits(self, who: object, session_ids: Collection[str]) -> bool:
        """Somebody in the task waits for these sessions of its own grid, or for none any more.

        Returns:
            Whether that is a wait for which the agent has no worker.
        """

    def looked(self, session_id: str, *, ended: bool) -> None:
        """The task has looked how far a session of its own grid is: again and again, it waits."""


_this: ThisWorker | None = None


def become(worker: ThisWorker) -> None:
    """This process is a worker from now on."""
    global _this
    _this = worker


def this_worker() -> ThisWorker | None:
    """The worker that this process is; None for any other process, one that a task has forked among them."""
    return _this if _this is not None and _this.is_this_process else None
