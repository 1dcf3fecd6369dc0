"""What tasks of a function use of memory and processors, as agents have measured it: sums, which add up."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

OTHERS = "(others)"  # functions of which an agent ran too many to tell apart; no function has such a name
GROWTH = 1.1  # from one class of peaks to the next: a share is known to within 10 %


@dataclass(frozen=True, slots=True)
class FunctionUsage:
    """Of one function, by one agent or by all together.

    Attributes:
        function: ``NAME:VERSION`` if it is deployed, else its name.
        tasks: attempts that were measured.
        peak_mb: the most memory (MiB) that any of them had.
        peaks: how many had a peak in each class: class ``k`` ends at ``1.1 ** k`` MiB.
        cpu_seconds, seconds: processor time and time that they took together.
        most_cores: processor time in a second, of the run of tasks that took most of it.
        out_of_memory: attempts that ran out of memory.
        too_little_mb: the largest limit (MiB) within which one did; 0 for none that is known.
        at: wall clock (s) of the last.
    """

    function: str
    tasks: int = 0
    peak_mb: float = 0.0
    peaks: Mapping[int, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    most_cores: float = 0.0
    out_of_memory: int = 0
    too_little_mb: int = 0
    at: float = 0.0

    def plus(self, other: FunctionUsage) -> FunctionUsage:
        """Both together, under this one's name."""
        peaks = dict(self.peaks)
        for number, tasks in other.peaks.items():
            peaks[number] = peaks.get(number, 0) + tasks
        return FunctionUsage(
            self.function,
            self.tasks + other.tasks,
            max(self.peak_mb, other.peak_mb),
            peaks,
            self.cpu_seconds + other.cpu_seconds,
            self.seconds + other.seconds,
            max(self.most_cores, other.most_cores),
            self.out_of_memory + other.out_of_memory,
            max(self.too_little_mb, other.too_little_mb),
            max(self.at, other.at),
        )

    def peak_of(self, share: float) -> float:
        """MiB that ``share`` of the tasks stayed within, to within 10 % and never above the highest peak."""
        wanted, seen = share * sum(self.peaks.values()), 0
        for number in sorted(self.peaks):
            seen += self.peaks[number]
            if seen >= wanted:
                return min(self.peak_mb, GROWTH**number)
        return self.peak_mb

    def text(self) -> str:
        """As every kind of grid stores it, but for its function."""
        return json.dumps(
            {
                "tasks": self.tasks,
                "peak_mb": round(self.peak_mb, 1),
                "peaks": [list(pair) for pair in sorted(self.peaks.items())],
                "cpu": round(self.cpu_seconds, 3),
                "seconds": round(self.seconds, 3),
                "cores": round(self.most_cores, 3),
                "oom": self.out_of_memory,
                "too_little": self.too_little_mb,
                "at": round(self.at, 3),
            },
            separators=(",", ":"),
        )


def measured(
    function: str, tasks: int, peak_mb: float, cpu_seconds: float, seconds: float, at: float, *, shortest: float = 0.05
) -> FunctionUsage:
    """Of a few tasks that ran one after another, of which the highest peak is known.

    Args:
        shortest: seconds below which processor time says nothing of cores: its clock ticks too slowly.
    """
    number = max(0, math.ceil(math.log(max(1.0, peak_mb), GROWTH)))
    cores = cpu_seconds / seconds if seconds >= shortest else 0.0
    return FunctionUsage(function, tasks, peak_mb, {number: tasks}, cpu_seconds, seconds, cores, at=at)


def usage_of_text(function: str, text: str) -> FunctionUsage | None:
    """Undo ``FunctionUsage.text``; None if it cannot be read: it is for advice, and ends nothing."""
    try:
        told = json.loads(text)
        peaks = {int(number): int(tasks) for number, tasks in told["peaks"]}
        return FunctionUsage(
            function, int(told["tasks"]), float(told["peak_mb"]), peaks, float(told["cpu"]), float(told["seconds"]),
            float(told["cores"]), int(told["oom"]), int(told["too_little"]), float(told["at"]),
        )  # fmt: skip
    except (ValueError, TypeError, LookupError):
        return None
