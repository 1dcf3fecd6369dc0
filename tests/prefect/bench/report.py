"""What was measured, as one table, and what was aimed at."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.comparison import Target
from tests.bench.machine import processor
from tests.prefect.bench.runners import DASK, RAY, THREADS, ours

BESIDE = {THREADS: "threads", DASK: "Dask", RAY: "Ray"}
# Times a peer's own rate; by default 500 tasks are reported so.
RATES = [
    (ours("prefect", "tasks"), DASK, Target("at least", 20)),
    (ours("prefect", "tasks"), RAY, Target("at least", 20)),
    (ours("prefect", "tasks"), THREADS, Target("at least", 0.9)),
    (ours("grid", "tasks"), THREADS, Target("at least", 3)),
]
SESSION_S = Target("at most", 30)
MAP_MB = Target("at most", 300)

Found = list[float] | str
"""Numbers, or why there are none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        arguments: of ``tests.prefect.bench.child``.
    """

    name: str
    tasks: int
    arguments: list[str]


class Report:
    """Everything that was measured."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Row, Found]] = {}

    def add(self, row: Row, found: Found) -> None:
        """Note a row, and print it."""
        self._found[row.name] = row, found
        shown = found if isinstance(found, str) else " ".join(f"{number:,.2f}" for number in found)
        print(f"{row.name}, {row.tasks:,} tasks: {shown}", flush=True)

    def print(self) -> None:
        """Print the table and the targets."""
        print(f"\n{processor()}\n")
        print(f"| `.map` of tasks that do nothing | tasks/s | {' | '.join(f'x {peer}' for peer in BESIDE.values())} |")
        print(f"|---|---|{'---|' * len(BESIDE)}")
        for name, (row, found) in self._found.items():
            if row.arguments[0] == "map":
                rate = self._rate(name)
                shown = found if rate is None else f"{rate:,.0f}"
                print(f"| {name} | {shown} | {' | '.join(self._ratio(name, peer) for peer in BESIDE)} |")
        print("", *self._targets(), sep="\n")

    def _targets(self) -> Iterator[str]:
        for name, peer, target in RATES:
            mine, theirs = self._rate(name), self._rate(peer)
            value = mine / theirs if mine and theirs else None
            yield _judged(f"{name}, times {peer}", value, target)
        yield _judged("run_session of 100,000 tasks, s", self._number("run_session", 0), SESSION_S)
        yield _judged("most memory of a map of 200,000, MB", self._number("memory of a map", 1), MAP_MB)

    def _rate(self, name: str) -> float | None:
        row, found = self._found.get(name, (None, None))
        return row.tasks / statistics.median(found) if row and isinstance(found, list) else None

    def _ratio(self, name: str, peer: str) -> str:
        mine, theirs = self._rate(name), self._rate(peer)
        return f"{mine / theirs:,.2f}" if mine and theirs else "-"

    def _number(self, name: str, position: int) -> float | None:
        _, found = self._found.get(name, (None, "not measured"))
        return None if isinstance(found, str) else found[position]


def _judged(what: str, value: float | None, target: Target) -> str:
    if value is None:
        return f"{what}: not measured (target: {target.direction} {target.bound:g})"
    verdict = "met" if target.met_by(value) else "MISSED"
    return f"{what}: {value:,.2f} (target: {target.direction} {target.bound:g}): {verdict}"
