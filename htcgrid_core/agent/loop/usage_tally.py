"""What an agent has measured of each function's tasks, until a heartbeat tells it: sums since the agent began."""

from __future__ import annotations

import logging
from dataclasses import replace

from htcgrid_core.domain.usage import OTHERS, FunctionUsage, measured
from htcgrid_core.ports.clock import Clock
from htcgrid_core.ports.worker import Used

FUNCTIONS = 4096  # that have a sum each, of a kilobyte or two; further ones have one together
TOLD_AT_ONCE = 20  # fit beside the agent's own record in one call of DynamoDB
_log = logging.getLogger(__name__)


class UsageTally:
    """One agent's.

    What is told is the whole sum each time, so that telling it twice, or never hearing that it arrived, does no harm.
    So none may be forgotten: a sum that began anew would take the place of the one that was told before.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sums: dict[str, FunctionUsage] = {}
        self._changed: dict[str, None] = {}  # in the order in which they did
        self._told_at: dict[str, float] = {}  # monotonic

    def used(self, function: str, event: Used) -> None:
        """A worker has measured some tasks."""
        told = (event.tasks, event.peak_mb, event.cpu_seconds, event.seconds)
        self._add(measured(function, *told, self._clock.now()))

    def ran_out(self, function: str, had_mb: int) -> None:
        """A task ran out of memory; 0 if nobody knows of how much."""
        self._add(FunctionUsage(function, out_of_memory=1, too_little_mb=had_mb, at=self._clock.now()))

    def due(self, every_seconds: float) -> list[FunctionUsage]:
        """Sums to tell now: those that have changed, of each function once in ``every_seconds``; they count as told."""
        now = self._clock.monotonic()
        names = [name for name in self._changed if now - self._told_at.get(name, float("-inf")) >= every_seconds]
        for name in names[:TOLD_AT_ONCE]:
            self._told_at[name] = now
            del self._changed[name]
        return [self._sums[name] for name in names[:TOLD_AT_ONCE]]

    def not_told(self, usages: list[FunctionUsage]) -> None:
        """They may not have arrived."""
        for usage in usages:
            self._changed.setdefault(usage.function)
            self._told_at.pop(usage.function, None)

    def _add(self, usage: FunctionUsage) -> None:
        name = usage.function
        if name not in self._sums and len(self._sums) >= FUNCTIONS:
            if OTHERS not in self._sums:
                _log.warning(
                    "more than %d functions ran here: %s and further ones are measured together", FUNCTIONS, name
                )
            name, usage = OTHERS, replace(usage, function=OTHERS)
        before = self._sums.get(name)
        self._sums[name] = usage if before is None else before.plus(usage)
        self._changed.setdefault(name)
