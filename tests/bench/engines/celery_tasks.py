"""Celery with Redis as its broker and result store, and one prefork worker node."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.bench.engines.base import Closing, Task, UnavailableError
from tests.bench.engines.redis_server import RedisServer
from tests.bench.events import Event

QUIET = ("--without-gossip", "--without-mingle", "--loglevel", "ERROR")


class CeleryTasks(Closing):
    """A Redis, a worker node with its processes, and this client."""

    def __init__(self, workers: int) -> None:
        """Start Redis, then the worker."""
        if importlib.util.find_spec("celery") is None:
            raise UnavailableError("celery is not installed: see requirements/bench.txt")
        self.redis = RedisServer()
        os.environ["BENCH_REDIS_URL"] = self.redis.url
        from tests.bench.engines.celery_app import app

        self.app = app
        command = [sys.executable, "-m", "celery", "-A", "tests.bench.engines.celery_app", "worker"]
        self.worker = subprocess.Popen(
            [*command, "--concurrency", str(workers), "--pool", "prefork", *QUIET], stdin=subprocess.DEVNULL
        )

    def run(self, task: Task, events: Sequence[Event]) -> list[Any]:
        """One message a task, then one ``get`` each: faster here than a group or a result set."""
        call = self.app.tasks[task.__name__]
        pending = [call.delay(event) for event in events]
        return [result.get() for result in pending]

    def one(self, task: Task, event: Event) -> Any:
        """Send one and wait."""
        return self.app.tasks[task.__name__].delay(event).get()

    def close(self) -> None:
        """Stop the worker, then Redis."""
        self.worker.terminate()
        self.worker.wait()
        self.app.close()
        self.redis.close()
