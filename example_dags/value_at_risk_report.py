"""What to say about a value-at-risk backtest: a score for every model, a table and a picture."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from rich.console import Console
from rich.table import Table

from value_at_risk import MODELS, TAIL, Forecast, LikelihoodRatio, christoffersen, kupiec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Dates = NDArray[np.datetime64]

SIGNIFICANCE: Final = 0.05
LOG_WIDTH: Final = 110
"""Columns of the table where there is no terminal to fit."""

INK, QUIET, RISK, VIOLATION = "#1f2933", "#9aa5b1", "#0b7285", "#e03131"


@dataclass(frozen=True, slots=True)
class Score:
    """How one model did: its forecasts and where the losses exceeded them, both of shape (days,)."""

    model: str
    value_at_risk: Vector
    violated: NDArray[np.bool_]

    @property
    def violations(self) -> int:
        """Return the number of days on which the loss exceeded the forecast."""
        return int(self.violated.sum())

    @property
    def expected(self) -> float:
        """Return the number of violations of a perfect model."""
        return TAIL * self.violated.size

    @property
    def frequency(self) -> LikelihoodRatio:
        """Return Kupiec's test: are there as many violations as there should be?"""
        return kupiec(self.violations, self.violated.size)

    @property
    def independence(self) -> LikelihoodRatio:
        """Return Christoffersen's test: do they come one at a time?"""
        return christoffersen(self.violated)

    @property
    def faults(self) -> list[str]:
        """Return what the model is rejected for: nothing, its frequency, its clusters or both."""
        tests = {"frequency": self.frequency, "clusters": self.independence}
        return [name for name, test in tests.items() if test.p_value < SIGNIFICANCE]

    @property
    def verdict(self) -> str:
        """Return the outcome of both tests in words."""
        return f"rejected: {', '.join(self.faults)}" if self.faults else "not rejected"


def scores(returns: Vector, forecasts: Iterable[Forecast]) -> list[Score]:
    """Set every model's forecasts against what happened; `returns` is the whole history, in percent."""
    days, values = [], []
    for item in forecasts:
        days.append(item["day"])
        values.append([item["value_at_risk"][model] for model in MODELS])
    forecast = np.array(values)
    realised = returns[days]
    return [
        Score(model, value_at_risk=column, violated=realised < -column)
        for model, column in zip(MODELS, forecast.T, strict=True)
    ]


def report(results: Sequence[Score], console: Console | None = None) -> None:
    """Print one line a model."""
    table = Table(
        title=_title(results),
        caption="Likelihood ratio (p-value). Kupiec: as many violations as there should be?\n"
        f"Christoffersen: one at a time? Rejected at p < {SIGNIFICANCE}.",
    )
    table.add_column("model", style="cyan", no_wrap=True)
    for heading in ("mean VaR", "violations", "Kupiec", "Christoffersen", "verdict"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in results:
        table.add_row(
            MODELS[score.model],
            f"{score.value_at_risk.mean():.2f} %",
            f"{score.violations}",
            _cell(score.frequency),
            _cell(score.independence),
            "[red]rejected[/]" if score.faults else "[green]not rejected[/]",
        )
    console = console or Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    console.print(table)


def _title(results: Sequence[Score]) -> str:
    days, due = results[0].violated.size, results[0].expected
    return f"One-day {1 - TAIL:.0%} value at risk of the S&P 500: {days:,} days, {due:.1f} violations due"


def _cell(test: LikelihoodRatio) -> str:
    text = f"{test.statistic:.1f} ({_p_value(test)})"
    return f"[red]{text}[/]" if test.p_value < SIGNIFICANCE else text


def _p_value(test: LikelihoodRatio) -> str:
    return "<.001" if test.p_value < 0.001 else f"{test.p_value:.3f}".lstrip("0")


def plot(dates: Dates, returns: Vector, results: Sequence[Score], path: Path) -> None:
    """Save a picture: for every model its forecast under the returns; dates and returns of shape (days,)."""
    figure = Figure(figsize=(13.5, 11.8), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.07))
    strips = figure.subplots(len(results), 1, sharex=True, sharey=True)
    for axes, score in zip(strips, results, strict=True):
        _plot_strip(axes, dates, returns, score)
    strips[0].legend(frameon=False, loc="lower left", ncols=2, labelcolor=INK, fontsize=9.5)
    strips[-1].set_xlim(dates[0], dates[-1])
    figure.suptitle(_title(results), x=0.012, ha="left", color=INK, fontsize=14, fontweight="bold")
    figure.supylabel("daily log return, %", color=INK, fontsize=10)
    figure.savefig(path)


def _plot_strip(axes: Axes, dates: Dates, returns: Vector, score: Score) -> None:
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(QUIET)
    axes.tick_params(colors=INK, length=0, labelsize=9.5)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=QUIET, alpha=0.25)
    axes.vlines(dates, 0, returns, color=QUIET, lw=0.5, alpha=0.8)
    axes.plot(dates, -score.value_at_risk, color=RISK, lw=1.2, label="value at risk")
    days, losses = dates[score.violated], returns[score.violated]
    axes.plot(days, losses, "o", ms=3.6, c=VIOLATION, mec="white", mew=0.4, label="violation")
    axes.set_title(MODELS[score.model], loc="left", color=INK, fontsize=11.5, pad=4)
    axes.set_title(
        f"{score.violations} violations; Kupiec p {_p_value(score.frequency)},"
        f" Christoffersen p {_p_value(score.independence)}; {score.verdict}",
        loc="right",
        color=VIOLATION if score.faults else RISK,
        fontsize=10.5,
        pad=4,
    )
