"""What an agent has measured of each function's tasks, until a heartbeat tells it: sums since the agent began."""

from __future__ import annotations

from htcgrid_core.domain.usage import FunctionUsage, measured
from htcgrid_core.ports.clock import Clock
from htcgrid_core.ports.worker import Used

FUNCTIONS = 256  # that are kept; of further ones the first to fall silent are forgotten, their last sums told
TOLD_AT_ONCE = 20  # fit beside the agent's own record in one call of DynamoDB


class UsageTally:
    """One agent's.

    What is told is the whole sum each time, so that telling it twice, or never hearing that it arrived, does no harm.
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
            if usage.function in self._sums:
                self._changed.setdefault(usage.function)
                self._told_at.pop(usage.function, None)

    def _add(self, usage: FunctionUsage) -> None:
        name = usage.function
        if name not in self._sums and len(self._sums) >= FUNCTIONS:
            quiet = next((each for each in self._sums if each not in self._changed), None)
            if quiet is None:
                return  # so many at once that nobody could read them
            del self._sums[quiet]
            self._told_at.pop(quiet, None)
        before = self._sums.pop(name, None)
        self._sums[name] = usage if before is None else before.plus(usage)
        self._changed.setdefault(name)
