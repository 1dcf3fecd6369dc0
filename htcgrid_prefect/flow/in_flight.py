"""A session on its way, and the futures that its tasks settle."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from htcgrid_core import Patience, Session, TaskState
from htcgrid_prefect.flow.futures import HTCGridFuture
from htcgrid_prefect.flow.patience import new_patience
from htcgrid_prefect.flow.remote_task import RemoteTask
from htcgrid_prefect.flow.state_events import running_changes

RUNNING_EVERY_SECONDS = 2.0  # how often the API is told what runs; of what is shorter it learns at its end only


@dataclass(slots=True, eq=False)
class InFlightSession:
    """A session on its way.

    Attributes:
        futures: by the indexes of their tasks; all of the session's, unless it was reattached to.
        submitted_at: when it was submitted, or reattached to.
        is_reattached: whether another process submitted it, which may have told the API anything before that.
        left: of the futures that have not ended.
        cursor: where its pages were read to.
        running: since when the API knows these tasks to run.
    """

    session: Session
    futures: Sequence[HTCGridFuture[Any]] | Mapping[int, HTCGridFuture[Any]]
    is_reattached: bool = False
    left: int = field(init=False)
    cursor: int = 0
    submitted_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    patience: Patience = field(default_factory=new_patience)
    running: dict[int, datetime] = field(default_factory=dict)
    _look_at: float = field(default_factory=lambda: time.monotonic() + RUNNING_EVERY_SECONDS)

    def __post_init__(self) -> None:
        self.left = len(self.futures)

    @property
    def remote_task(self) -> RemoteTask:
        """What runs its tasks; one session is of one task."""
        return next(iter(self.all())).group.remote_task

    def all(self) -> Iterable[HTCGridFuture[Any]]:
        """Its futures."""
        return self.futures.values() if isinstance(self.futures, Mapping) else self.futures

    def future(self, index: int) -> HTCGridFuture[Any] | None:
        """The future of a task; None for one that nobody waits for."""
        return self.futures.get(index) if isinstance(self.futures, Mapping) else self.futures[index]

    def open_indexes(self) -> list[int]:
        """Tasks whose futures have not ended."""
        pairs = self.futures.items() if isinstance(self.futures, Mapping) else enumerate(self.futures)
        return [index for index, future in pairs if not future.done()]

    def known_state(self, index: int) -> tuple[datetime | None, bool]:
        """When a task entered the state that the API knows it in, if it may know any, and whether that is Running."""
        running = self.running.get(index)
        if running is not None:
            return running, True
        return (self.submitted_at if self.is_reattached else None), False

    def new_running_events(self) -> list[bytes]:
        """Events of what runs and is not known to; none between the intervals."""
        if self.remote_task.level != "tasks" or time.monotonic() < self._look_at:
            return []
        now = datetime.now(UTC)  # before the look: what is seen has begun by then
        events: list[bytes] = []
        for task in self.session.tasks(TaskState.RUNNING):
            future = self.future(task.index)
            if future is not None and not future.done() and task.index not in self.running:
                self.running[task.index] = now
                changes = running_changes(self.submitted_at, now)
                events += self.remote_task.events.of(future.task_run_id, changes)
        self._look_at = time.monotonic() + RUNNING_EVERY_SECONDS
        return events
