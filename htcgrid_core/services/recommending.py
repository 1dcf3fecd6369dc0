"""What the tasks of functions should be given, by what agents have measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from htcgrid_core.domain.usage import FunctionUsage

HEADROOM = 1.25  # above the highest peak: the next task may need more than all before
MORE_THAN_TOO_LITTLE = 2.0  # of what was too little, where nobody has seen what is enough
STEP_MB = 64
USUAL_SHARE = 0.95  # of tasks, whose memory and processors are told as the usual ones
CPU_STEP = 0.25


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the tasks of a function should be given, and the figures behind it.

    Attributes:
        memory_mb: MiB; None if nothing is known.
        cpus: cores; None if nothing is known.
        usage: of all agents together; None if no task was measured.
        usual_mb: that 95 % of the tasks stayed within.
        mean_cores: processor time a second.
        why: one sentence.
        declared_memory_mb, declared_cpus: what the function says itself, if it is deployed.
    """

    function: str
    memory_mb: int | None
    cpus: float | None
    usage: FunctionUsage | None
    usual_mb: float
    mean_cores: float
    why: str
    declared_memory_mb: int | None = None
    declared_cpus: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is anything to propose."""
        return self.memory_mb is not None or self.cpus is not None


def together(usages: Iterable[FunctionUsage]) -> list[FunctionUsage]:
    """One for each function, by name, of what several agents have measured."""
    found: dict[str, FunctionUsage] = {}
    for usage in usages:
        before = found.get(usage.function)
        found[usage.function] = usage if before is None else before.plus(usage)
    return [found[name] for name in sorted(found)]


def recommend(function: str, usages: Sequence[FunctionUsage]) -> Recommendation:
    """What its tasks should be given.

    Memory: the highest peak and a quarter more, or, if a task ran out of memory and none is known to have had more than
    that, twice what it had; in steps of 64 MiB. Cores: processor time in a second, on average or in the measured run
    that took most of it if that is more than one core; in quarters.
    """
    usage = None
    for each in usages:
        usage = each if usage is None else usage.plus(each)
    if usage is None or (not usage.tasks and not usage.too_little_mb):
        return Recommendation(function, None, None, None, 0.0, 0.0, "no task of it was measured")
    usual = usage.peak_of(USUAL_SHARE)
    mean = usage.cpu_seconds / usage.seconds if usage.seconds else 0.0
    memory, why = _memory(usage)
    cpus = None
    if usage.seconds and usage.cpu_seconds:
        cores = usage.most_cores if usage.most_cores > 1.0 else mean
        cpus = max(CPU_STEP, math.ceil(round(cores, 2) / CPU_STEP) * CPU_STEP)
    return Recommendation(function, memory, cpus, usage, usual, mean, why)


def _memory(usage: FunctionUsage) -> tuple[int | None, str]:
    ran_out = f"{usage.out_of_memory:,} ran out of memory" if usage.out_of_memory else ""
    if usage.too_little_mb and usage.peak_mb <= usage.too_little_mb:
        enough = usage.too_little_mb * MORE_THAN_TOO_LITTLE
        return _stepped(enough), f"{ran_out}, within {usage.too_little_mb:,} MiB, and none is known to have had more"
    if not usage.peak_mb:
        return None, "its agents cannot measure memory"
    above = f"the highest peak, {usage.peak_mb:,.0f} MiB, and {HEADROOM - 1:.0%} headroom"
    return _stepped(usage.peak_mb * HEADROOM), f"{above}; {ran_out}" if ran_out else above


def _stepped(mb: float) -> int:
    return math.ceil(mb / STEP_MB) * STEP_MB
