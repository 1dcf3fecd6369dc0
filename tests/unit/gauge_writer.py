"""A worker's side of a gauge, for a process of its own."""

from __future__ import annotations

import os

from htcgrid_core.agent.workers.native.wire import Gauge


def begin_many(path: str, count: int) -> None:
    """Begin so many tasks, whose serial, position and start are the same number."""
    gauge = Gauge(os.open(path, os.O_RDWR))
    for number in range(1, count + 1):
        gauge.begin(number, number, float(number))
