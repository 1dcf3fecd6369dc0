"""What the tasks run. The same functions serve the grid (event, context) and the peers (event alone)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


def echo(event: Any, context: Any = None) -> Any:
    """Give the event back: the cost is all the framework's."""
    return event


def stamp(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Give the event's number back with the time at which its task ended."""
    return {"n": event["n"], "at": time.time()}


def sleep(event: dict[str, Any], context: Any = None) -> int:
    """Sleep for the event's seconds: a task that waits for something else."""
    time.sleep(event["s"])
    return int(event["n"])


def spin(event: dict[str, Any], context: Any = None) -> int:
    """Burn the event's seconds of CPU time, however long that takes: a task that computes."""
    until = time.thread_time() + event["s"]
    while time.thread_time() < until:
        pass
    return int(event["n"])


def stubborn(event: dict[str, Any], context: Any = None) -> int:
    """Refuse SIGTERM, say so in a file named after this process, and sleep for the event's seconds."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(event["dir"], str(os.getpid())).touch()
    until = time.monotonic() + event["s"]
    while time.monotonic() < until:
        time.sleep(0.05)
    return int(event["n"])


def made(event: dict[str, Any], context: Any = None) -> Any:
    """Make an array of the event's bytes, filled with its number: a task with a large result."""
    import numpy as np

    return np.full(event["bytes"] // 8, float(event["n"]))


def ends_of(event: Any, context: Any = None) -> tuple[int, float, float]:
    """An array's length and its two ends: a task with a large event."""
    return len(event), float(event[0]), float(event[-1])


def touched(event: dict[str, Any], context: Any = None) -> float:
    """Look at each page of an array that tasks share."""
    return float(event["array"][:: 4096 // 8].sum()) + float(event["n"])


def nap(event: float, context: Any = None) -> float:
    """Sleep so many seconds: so that each worker has its turn."""
    time.sleep(event)
    return event
