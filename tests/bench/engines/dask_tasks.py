"""Dask distributed: a LocalCluster of single-threaded worker processes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from tests.bench.engines.base import Closing, Task, UnavailableError
from tests.bench.events import Event

LOOPBACK = "127.0.0.1"


class DaskTasks(Closing):
    """A scheduler in this process and workers in processes of their own, all on loopback."""

    def __init__(self, workers: int) -> None:
        """Start the cluster without its dashboard."""
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError as error:
            raise UnavailableError("distributed is not installed: see requirements/bench.txt") from error
        self.cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, host=LOOPBACK, dashboard_address=None
        )
        self.client = distributed.Client(self.cluster)

    def run(self, task: Task, events: Sequence[Event]) -> list[Any]:
        """One ``map`` (a task an event, no result reused) and one ``gather``."""
        return list(self.client.gather(self.client.map(task, list(events), pure=False)))

    def one(self, task: Task, event: Event) -> Any:
        """Submit one and wait."""
        return self.client.submit(task, event, pure=False).result()

    def close(self) -> None:
        """Stop the client, then the cluster."""
        self.client.close()
        self.cluster.close()
