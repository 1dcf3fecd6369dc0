"""The standard library's ``multiprocessing.Pool.imap``, task by task or batched by hand."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import Any

from tests.bench.engines.base import Closing, Task
from tests.bench.events import Event


class PoolImap(Closing):
    """The leanest pool of the standard library: no futures, no retry, no state."""

    def __init__(self, workers: int, chunk_tasks: int = 1) -> None:
        """Start the workers; ``chunk_tasks`` events travel together."""
        self.pool = multiprocessing.get_context().Pool(workers)
        self.chunk_tasks = chunk_tasks

    def run(self, task: Task, events: Sequence[Event]) -> list[Any]:
        """One ``imap`` over all events."""
        return list(self.pool.imap(task, events, chunksize=self.chunk_tasks))

    def one(self, task: Task, event: Event) -> Any:
        """Apply one and wait."""
        return self.pool.apply(task, (event,))

    def close(self) -> None:
        """Stop the workers."""
        self.pool.terminate()
        self.pool.join()
