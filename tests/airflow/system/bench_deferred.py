"""Many deferred operators at once on one triggerer: what waiting for their sessions costs it."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.airflow.system.counting_triggerer import CALLS, LATE
from tests.airflow.system.event_loop_lag import Late, read, told
from tests.airflow.system.handlers import GATE
from tests.airflow.system.rest import eventually
from tests.airflow.system.stack import HEALTH, Stack

DAG, RUN = "bench_deferred", "r0"
STEADY_SECONDS = 30.0
GUARD_SECONDS = 1200.0
BLOCKED = re.compile(r"async thread was blocked for ([0-9.]+) seconds")  # Airflow's warning


@dataclass(frozen=True)
class Seen:
    """What the triggerer had used up to a moment."""

    seconds: float
    cpu_seconds: float
    calls: Counter[str]
    blocked: list[str]
    late: list[Late]


class Watched:
    """A stack whose triggerer's calls to the grid's store are counted."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.calls = Path(stack.env[CALLS])
        self.calls.touch()
        stack["triggerer"].stop()
        stack.run("triggerer", [sys.executable, "-m", "tests.airflow.system.counting_triggerer"])
        eventually(lambda: stack.api.healthy(*HEALTH), "healthy again")

    def seen(self) -> Seen:
        """Until now."""
        used = sum(sum(process.cpu_times()[:2]) for process in self._processes())
        log = self.stack["triggerer"].log.read_text(errors="replace")
        calls = Counter(self.calls.read_text().split())
        return Seen(time.monotonic(), used, calls, BLOCKED.findall(log), read(Path(self.stack.env[LATE])))

    def _processes(self) -> Iterator[psutil.Process]:
        yield from self.stack["triggerer"].processes()

    def many(self, *states: str) -> int:
        """How many of the run's tasks are in one of these states."""
        path = f"dags/{DAG}/dagRuns/{RUN}/taskInstances"
        return sum(self.stack.api.call("GET", path, state=state, limit="1")["total_entries"] for state in states)


def deferred(stack: Stack, count: int, folder: Path) -> str:
    """Defer so many at once, let their sessions end together, and say what it took."""
    watched = Watched(stack)
    began = watched.seen()
    stack.api.trigger(DAG, RUN)
    eventually(lambda: watched.many("deferred") == count, lambda: f"{watched.many('deferred')} deferred", GUARD_SECONDS)
    first = watched.seen()
    time.sleep(STEADY_SECONDS)
    last = watched.seen()
    (folder / DAG / GATE).touch()
    eventually(lambda: stack.api.run_state(DAG, RUN) in {"success", "failed"}, "the run has ended", GUARD_SECONDS)
    ended = watched.seen()
    succeeded = watched.many("success")
    assert succeeded == count, f"{succeeded} of {count} succeeded, {watched.many('failed')} failed"

    seconds = last.seconds - first.seconds
    cpu = 100 * (last.cpu_seconds - first.cpu_seconds) / seconds
    asked = last.calls - first.calls
    calls = ", ".join(f"{number} {name}" for name, number in sorted((ended.calls - began.calls).items()))
    blocked = ", ".join(ended.blocked[len(began.blocked) :]) or "none"
    return "\n".join([
        f"{count} deferred operators, one triggerer: all deferred after {first.seconds - began.seconds:.0f} s, "
        f"all resumed and succeeded {ended.seconds - last.seconds:.0f} s after their sessions' ends",
        f"  while all wait: {cpu:.1f}% of a core for the triggerer, {asked.total() / seconds:.1f} store calls a second "
        f"({asked.total()} in {seconds:.0f} s)",
        f"  in all: {ended.cpu_seconds - began.cpu_seconds:.1f} CPU-seconds of the triggerer, store calls: {calls}",
        f"  warnings of a blocked event loop, and its seconds: {blocked}",
        f"  its loop was late: {told(ended.late[len(began.late) :])}",
    ])  # fmt: skip
