"""Metrics: what operators are told in numbers. Names, labels and their values are those of ``domain.metrics``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from htcgrid_core.domain.metrics import Metric


@dataclass(frozen=True, slots=True)
class Example:
    """One of the values that are sorted into a histogram, and what it is of.

    Attributes:
        of: such as session, task, attempt and trace_id: what the log and traces call so, too.
    """

    value: float
    of: Mapping[str, str]


class Metrics(Protocol):
    """Takes numbers in; may be called from many threads, never waits and never fails."""

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""

    def observe(
        self, metric: Metric, values: Iterable[float], *, example: Example | None = None, **labels: str
    ) -> None:
        """Sort values into a histogram.

        Args:
            example: where to look for one of them, beside the numbers: session, task and trace.
        """

    def show(self, metric: Metric, value: float, seconds: float, **labels: str) -> None:
        """Set a gauge, which vanishes after ``seconds``: what somebody else sees anew by then."""

    def read(self, metric: Metric, value: Callable[[], float | None], **labels: str) -> None:
        """Have a gauge looked at whenever somebody asks, in another thread; it is absent while that returns None."""


class NoMetrics:
    """Nobody looks."""

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        """Nothing."""

    def observe(
        self, metric: Metric, values: Iterable[float], *, example: Example | None = None, **labels: str
    ) -> None:
        """Nothing."""

    def show(self, metric: Metric, value: float, seconds: float, **labels: str) -> None:
        """Nothing."""

    def read(self, metric: Metric, value: Callable[[], float | None], **labels: str) -> None:
        """Nothing."""


NO_METRICS = NoMetrics()
