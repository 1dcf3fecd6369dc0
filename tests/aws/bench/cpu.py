"""CPU time of this process and of those that it started, but for the emulator."""

from __future__ import annotations

import os

from tests.bench.measure import cpu
from tests.bench.measure.cpu import used_s as used_s

EMULATOR = "ministack"


def tree_used_s() -> float:
    """User and system seconds of all that live below this process, itself included."""
    return cpu.tree_used_s(os.getpid(), without=EMULATOR)
