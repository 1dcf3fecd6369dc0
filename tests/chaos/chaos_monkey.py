"""Kills, stops and drains agents at random, until told to leave them alone."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType

import psutil

PAUSE_SECONDS = (0.3, 1.5)  # between strikes
STOPPED_SECONDS = (0.2, 4.0)  # shorter and longer than a lease


class ChaosMonkey:
    """A thread that disturbs the agents of one grid while a ``with`` block lasts; several may follow each other.

    Args:
        running: process ids of the agents there are.
        mark: a part of their command lines, and of nobody else's.
        pause_seconds: between strikes, at least and at most.

    Attributes:
        done: how often it did what.
    """

    def __init__(
        self,
        running: Callable[[], Sequence[int]],
        mark: str,
        seed: int,
        pause_seconds: tuple[float, float] = PAUSE_SECONDS,
    ) -> None:
        self.done: Counter[str] = Counter()
        self._running = running
        self._mark = mark
        self._pause_seconds = pause_seconds
        self._rng = random.Random(seed)
        self._stopped: dict[int, float] = {}  # pid to the monotonic time at which it goes on

    def __enter__(self) -> ChaosMonkey:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._disturb)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for pid in self._stopped:
            self._signal(pid, signal.SIGCONT)
        self._stopped.clear()

    def _disturb(self) -> None:
        strike_at = time.monotonic()
        while not self._over.wait(0.05):
            now = time.monotonic()
            for pid in [pid for pid, until in self._stopped.items() if until <= now]:
                self._signal(pid, signal.SIGCONT)
                del self._stopped[pid]
            if now >= strike_at:
                strike_at = now + self._rng.uniform(*self._pause_seconds)
                self._strike(now)

    def _strike(self, now: float) -> None:
        pids = self._running()
        if not pids:
            return
        pid = self._rng.choice(pids)
        how = self._rng.choices(["kill", "stop", "drain"], [5, 4, 1])[0]
        self.done[how] += 1
        if how == "kill":
            self._signal(pid, signal.SIGKILL)
        elif how == "drain":
            self._signal(pid, signal.SIGTERM)
        else:
            self._signal(pid, signal.SIGSTOP)
            self._stopped[pid] = now + self._rng.uniform(*STOPPED_SECONDS)

    def _signal(self, pid: int, number: int) -> None:
        """Signal an agent of this grid; ids are used again, and what has another's by now is left alone."""
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process = psutil.Process(pid)
            if any(self._mark in word for word in process.cmdline()):
                process.send_signal(number)
