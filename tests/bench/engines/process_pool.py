"""The standard library's ``concurrent.futures.ProcessPoolExecutor``: one future a task."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tests.bench.engines.base import Closing, Task
from tests.bench.events import Event


class ProcessPool(Closing):
    """Submit and wait for futures."""

    def __init__(self, workers: int) -> None:
        """Make the pool; its workers start with the first task."""
        self.pool = ProcessPoolExecutor(max_workers=workers)

    def run(self, task: Task, events: Sequence[Event]) -> list[Any]:
        """One ``submit`` an event."""
        futures = [self.pool.submit(task, event) for event in events]
        return [future.result() for future in futures]

    def one(self, task: Task, event: Event) -> Any:
        """Submit one and wait."""
        return self.pool.submit(task, event).result()

    def close(self) -> None:
        """Stop the workers."""
        self.pool.shutdown(cancel_futures=True)
