"""What to say about a run of `longstaff_schwartz`: a verdict, a table and a picture."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from rich.console import Console
from rich.table import Table

import longstaff_schwartz as model
from longstaff_schwartz import Estimate, Result, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

TOLERANCE_STANDARD_ERRORS: Final = 3.0
TOLERANCE_DOLLARS: Final = 0.01
LOG_WIDTH: Final = 110
"""Columns of the table where there is no terminal to fit."""

INK, QUIET, OURS, PAPER = "#1f2933", "#9aa5b1", "#0b7285", "#e8590c"


# --- the verdict ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the table: what was published beside what we found."""

    published: Row
    estimate: Estimate
    finite_difference: float
    european: float

    @property
    def difference(self) -> float:
        """Return our simulated value minus the published one, in dollars."""
        return self.estimate.value - self.published.simulated

    @property
    def standard_error(self) -> float:
        """Return the standard error of the difference: two independent simulations."""
        return math.hypot(self.estimate.standard_error, self.published.standard_error)

    @property
    def agrees(self) -> bool:
        """Whether all three columns are the published ones, as nearly as each of them can be known."""
        allowed = TOLERANCE_STANDARD_ERRORS * self.standard_error + TOLERANCE_DOLLARS
        return (
            abs(self.difference) <= allowed
            and abs(self.finite_difference - self.published.finite_difference) <= TOLERANCE_DOLLARS
            and abs(self.european - self.published.european) <= TOLERANCE_DOLLARS
        )


def compare(estimates: dict[int, Estimate], rows: Sequence[Row] = model.PUBLISHED) -> list[Comparison]:
    """Set every estimate beside its published row and the two columns that need no simulation."""
    return [
        Comparison(
            published=(row := rows[number]),
            estimate=estimate,
            finite_difference=model.finite_difference(row.spot, row.volatility, row.maturity),
            european=model.european(row.spot, row.volatility, row.maturity),
        )
        for number, estimate in estimates.items()
    ]


def conclude(results: Iterable[Result], out: Path) -> int:
    """Combine, print and plot; return the exit code: 0 if every row agrees with the paper, else 1."""
    comparisons = compare(model.combine(results))
    report(comparisons)
    out.mkdir(parents=True, exist_ok=True)
    plot(comparisons, picture := out / "american_puts.png")
    print(f"picture: {picture}")
    if len(comparisons) < len(model.PUBLISHED):
        return _fail(f"only {len(comparisons)} of {len(model.PUBLISHED)} rows have results")
    if differing := [item.published.label for item in comparisons if not item.agrees]:
        return _fail(f"not the published values within tolerance: {'; '.join(differing)}")
    return 0


def written(results: Iterable[Result], out: Path) -> Path:
    """Combine and plot; write the table to a file too, and return its path.

    Raises:
        ValueError: a row has no result, or is not the published one.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "report.txt"
    comparisons = compare(model.combine(results))
    plot(comparisons, picture := out / "american_puts.png")
    with path.open("w") as file:
        report(comparisons, Console(file=file, width=LOG_WIDTH))
        print(f"picture: {picture}", file=file)
    print(path.read_text())
    if differing := [item.published.label for item in comparisons if not item.agrees]:
        raise ValueError(f"not the published values within tolerance: {'; '.join(differing)}")
    if len(comparisons) < len(model.PUBLISHED):
        raise ValueError(f"only {len(comparisons)} of {len(model.PUBLISHED)} rows have results")
    return path


def _fail(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


# --- the table --------------------------------------------------------------------------------------------


def report(comparisons: Sequence[Comparison], console: Console | None = None) -> None:
    """Print the table, published beside ours."""
    table = Table(
        title="American puts: Longstaff and Schwartz (2001), Table 1, and the grid",
        caption=f"strike {model.STRIKE:g}, rate {model.RATE:.0%}, {model.EXERCISES_PER_YEAR} exercise dates a"
        " year; FD: finite differences; (standard error)\n"
        "z: difference of the simulated values in its standard errors",
    )
    for heading in ("S", "σ", "T"):
        table.add_column(heading, justify="right", style="cyan", no_wrap=True)
    for heading in ("FD", "European", "simulated"):
        table.add_column(f"{heading}\npaper", justify="right", style="dim", no_wrap=True)
        table.add_column("\nours", no_wrap=True)
    table.add_column("z", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)

    for item in comparisons:
        row, ours = item.published, item.estimate
        table.add_row(
            f"{row.spot:g}",
            f"{row.volatility:.0%}",
            f"{row.maturity:g}",
            f"{row.finite_difference:.3f}",
            f"{item.finite_difference:.3f}",
            f"{row.european:.3f}",
            f"{item.european:.3f}",
            f"{row.simulated:.3f} ({row.standard_error:.3f})",
            f"{ours.value:.3f} ({ours.standard_error:.3f})",
            f"{item.difference / item.standard_error:+.1f}",
            "[green]agrees[/]" if item.agrees else "[bold red]differs[/]",
            end_section=(row.volatility, row.maturity) == (0.4, 2),
        )
    console = console or Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
    console.print(table)
    paths = sum(2 * item.estimate.pairs for item in comparisons)
    seconds = sum(item.estimate.seconds for item in comparisons)
    console.print(f"{_verdict(comparisons)}; {paths:,} paths in {seconds:.1f} s of handler time")


def _verdict(comparisons: Sequence[Comparison]) -> str:
    return f"{sum(item.agrees for item in comparisons)} of {len(comparisons)} rows agree"


# --- the picture ------------------------------------------------------------------------------------------


def plot(comparisons: Sequence[Comparison], path: Path) -> None:
    """Save a picture: the values over the stock price, and every simulation's distance from the exact one."""
    figure = Figure(figsize=(13.5, 7.8), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12))
    values, errors = figure.subplots(1, 2, width_ratios=(1.0, 1.15))
    for axes in (values, errors):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(QUIET)
        axes.tick_params(colors=INK, length=0, labelsize=9.5)
        axes.set_axisbelow(True)
    _plot_values(values, comparisons)
    _plot_errors(errors, comparisons)
    figure.suptitle(
        f"American puts by Least-Squares Monte Carlo: {_verdict(comparisons)}"
        " with Longstaff and Schwartz (2001), Table 1",
        x=0.012,
        ha="left",
        color=INK,
        fontsize=14,
        fontweight="bold",
    )
    figure.savefig(path)


def _plot_values(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    groups: dict[tuple[float, float], list[Comparison]] = {}
    for item in comparisons:
        groups.setdefault((item.published.volatility, item.published.maturity), []).append(item)
    for number, ((volatility, maturity), items) in enumerate(groups.items()):
        hidden = "_" if number else ""  # one legend for all groups
        spots = [item.published.spot for item in items]
        closed, exact = [item.european for item in items], [item.finite_difference for item in items]
        paper, ours = [item.published.simulated for item in items], [item.estimate.value for item in items]
        axes.plot(spots, closed, ":", c=QUIET, lw=1.6, label=f"{hidden}European, closed form")
        axes.plot(spots, exact, c=OURS, lw=1.4, alpha=0.55, label=f"{hidden}finite differences")
        axes.plot(spots, paper, "o", ms=10, mfc="none", mec=PAPER, label=f"{hidden}simulated, published")
        axes.plot(spots, ours, "o", ms=4.5, c=OURS, label=f"{hidden}simulated, on the grid")
        axes.annotate(
            f"σ {volatility:.0%}\nT {maturity:g} y",
            (spots[-1], items[-1].finite_difference),
            xytext=(14, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            color=INK,
        )
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], frameon=False, loc="upper right", labelcolor=INK, fontsize=9.5)
    axes.grid(axis="y", color=QUIET, alpha=0.25)
    axes.margins(x=0.06)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"stock price S in dollars, strike {model.STRIKE:g}", color=INK)
    axes.set_title("Value of the put, dollars", loc="left", color=INK, fontsize=12)


def _plot_errors(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    height = np.arange(len(comparisons), dtype=float)
    exact = np.array([item.finite_difference for item in comparisons])
    unit = np.array([item.published.standard_error for item in comparisons])
    paper = (np.array([item.published.simulated for item in comparisons]) - exact) / unit
    ours = (np.array([item.estimate.value for item in comparisons]) - exact) / unit
    ours_error = np.array([item.estimate.standard_error for item in comparisons]) / unit

    axes.axvspan(-TOLERANCE_STANDARD_ERRORS, TOLERANCE_STANDARD_ERRORS, color=QUIET, alpha=0.10, lw=0)
    axes.axvline(0, color=INK, lw=1)
    axes.errorbar(paper, height - 0.17, xerr=1.0, fmt="o", mfc="white", color=PAPER, label="published")
    axes.errorbar(ours, height + 0.17, xerr=ours_error, fmt="o", ms=5, color=OURS, label="on the grid")
    for above, (before, after) in enumerate(pairwise(comparisons)):
        if before.published.spot != after.published.spot:
            axes.axhline(above + 0.5, color=QUIET, alpha=0.5, lw=0.8)
    axes.set_yticks(height, [item.published.label for item in comparisons])
    axes.set_ylim(len(comparisons) - 0.4, -0.6)
    reach = max(3.6, np.abs(paper).max() + 1.2, (np.abs(ours) + ours_error).max() + 0.2)
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("distance from finite differences, in published standard errors", color=INK)
    axes.set_title("Simulated value, ± 1 standard error", loc="left", color=INK, fontsize=12)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 0.995), ncols=2, labelcolor=INK, fontsize=9.5)
