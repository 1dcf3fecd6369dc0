"""Ray: one remote task an event, on a private one-node cluster without a dashboard."""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Sequence
from typing import Any

from tests.bench.engines.base import Closing, Task, UnavailableError
from tests.bench.events import Event

LOOPBACK = "127.0.0.1"


class RayTasks(Closing):
    """A Ray node with as many CPUs as there are workers."""

    def __init__(self, workers: int) -> None:
        """Start the node on loopback."""
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise UnavailableError("ray is not installed: see requirements/bench.txt") from error
        self.ray = ray
        self.folder = tempfile.TemporaryDirectory(prefix="bench-ray-", ignore_cleanup_errors=True)
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address=LOOPBACK,
            _temp_dir=self.folder.name,
        )
        self._remote: dict[Task, Any] = {}

    def _as_remote(self, task: Task) -> Any:
        if task not in self._remote:
            self._remote[task] = self.ray.remote(task)
        return self._remote[task]

    def run(self, task: Task, events: Sequence[Event]) -> list[Any]:
        """One ``remote`` an event, one ``get`` for all."""
        remote = self._as_remote(task)
        return list(self.ray.get([remote.remote(event) for event in events]))

    def one(self, task: Task, event: Event) -> Any:
        """One ``remote`` and its ``get``."""
        return self.ray.get(self._as_remote(task).remote(event))

    def close(self) -> None:
        """Stop the node."""
        self.ray.shutdown()
        self.folder.cleanup()
