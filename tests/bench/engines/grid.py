"""The grid itself, through its public API, on a fresh local directory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

from tests.bench.engines.base import Closing, Task
from tests.bench.events import Event


def reference(task: Task) -> str:
    """The name under which an agent can import a module-level handler."""
    return f"{task.__module__}.{task.__qualname__}"


class GridBase(Closing):
    """An embedded grid with one slot a worker and default settings."""

    def __init__(self, workers: int) -> None:
        """Connect; agents start with the first session."""
        from htcgrid_core import connect

        self.folder = tempfile.TemporaryDirectory(prefix="bench-grid-", ignore_cleanup_errors=True)
        self.grid = connect(f"local://{self.folder.name}?slots={workers}")

    def run(self, task: Task, events: Sequence[Event]) -> list[Any]:
        """One session for all events."""
        return list(self.grid.submit(reference(task), events).results())

    def one(self, task: Task, event: Event) -> Any:
        """One session of one task."""
        return next(iter(self.run(task, [event])))

    def close(self) -> None:
        """Leave the grid; what it left in the background ends with the case's process tree."""
        self.grid.close()
        self.folder.cleanup()


class GridSubmit(GridBase):
    """``grid.submit`` with the name of a handler: events and results travel as JSON."""


class GridMap(GridBase):
    """``grid.map`` with a Python callable: it and its values travel as signed pickles."""

    def run(self, task: Task, events: Sequence[Event]) -> list[Any]:
        """One ``map`` over all events."""
        return list(self.grid.map(task, events))


class GridExecutor(GridBase):
    """``grid.executor()``: the grid as a ``concurrent.futures`` executor."""

    def __init__(self, workers: int) -> None:
        """Open one executor for all tasks."""
        super().__init__(workers)
        self.executor = self.grid.executor()

    def run(self, task: Task, events: Sequence[Event]) -> list[Any]:
        """One ``submit`` an event, as with any executor."""
        futures = [self.executor.submit(task, event) for event in events]
        return [future.result() for future in futures]

    def one(self, task: Task, event: Event) -> Any:
        """Submit one and wait."""
        return self.executor.submit(task, event).result()

    def close(self) -> None:
        """Close the executor, then the grid."""
        self.executor.shutdown(cancel_futures=True)
        super().close()
