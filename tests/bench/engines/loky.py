"""joblib's own process pool, loky: large arrays in arguments travel as memory maps."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from tests.bench.engines.base import Closing, Task, UnavailableError
from tests.bench.events import Event


class Loky(Closing):
    """``joblib.Parallel`` with its default backend."""

    def __init__(self, workers: int) -> None:
        """Make the pool; its workers start with the first task."""
        try:
            self.joblib: Any = importlib.import_module("joblib")
        except ImportError as error:
            raise UnavailableError("joblib is not installed: see requirements/bench.txt") from error
        self.parallel = self.joblib.Parallel(n_jobs=workers, batch_size=1)
        self.parallel.__enter__()

    def run(self, task: Task, events: Sequence[Event]) -> list[Any]:
        """One call an event."""
        return list(self.parallel(self.joblib.delayed(task)(event) for event in events))

    def one(self, task: Task, event: Event) -> Any:
        """One call."""
        return self.run(task, [event])[0]

    def close(self) -> None:
        """Stop the workers."""
        self.parallel.__exit__(None, None, None)
