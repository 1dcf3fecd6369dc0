"""Sends what there is, and waits no longer than it is told to."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue


class Flusher:
    """Flushes in a thread of its own, which is left behind with a receiver that does not answer.

    OpenTelemetry's ``force_flush`` knows no limit of time. The thread is there beforehand, since newer Pythons start
    none when they end.
    """

    def __init__(self, flush: Callable[[], object]) -> None:
        self._flush = flush
        self._pid = 0  # whose thread there is
        self._late: threading.Event | None = None
        self._asked: SimpleQueue[threading.Event] = SimpleQueue()
        self._start()

    def flush(self, seconds: float) -> None:
        """Flush, for at most so long; while an earlier one hangs, nobody waits for it again."""
        if self._pid != os.getpid():  # a fork has no threads
            self._start()
        if self._late is not None and not self._late.is_set():
            return
        done = threading.Event()
        self._asked.put(done)
        if not done.wait(seconds):
            self._late = done

    def _start(self) -> None:
        self._pid, self._late, self._asked = os.getpid(), None, SimpleQueue()
        threading.Thread(target=self._serve, args=(self._asked,), name="htcgrid-flush", daemon=True).start()

    def _serve(self, asked: SimpleQueue[threading.Event]) -> None:
        while True:
            done = asked.get()
            self._flush()
            done.set()
