"""The final table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from tests.bench.case import Case, Outcome
from tests.bench.comparison import Judged, Source, Target, number

ABSENT = "-"
MARKS = {"pass": "[green]✔ pass[/]", "miss": "[red]✘ miss[/]", "info": "", "not measured": ABSENT}
SIGNS = {"at least": "≥", "at most": "≤"}


def shown(value: float | None) -> str:
    """A number with about three significant digits."""
    if value is None:
        return ABSENT
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def shown_source(source: Source | None, value: float | None, outcomes: Mapping[Case, Outcome]) -> str:
    """A number with its best round, or why there is none."""
    if source is None:
        return ""
    if value is None:
        outcome = outcomes.get(source.case)
        return f"[dim]{outcome.status}[/]" if outcome and outcome.status != "ok" else ABSENT
    best = number(outcomes, source, source.best)
    return shown(value) if best is None else f"{shown(value)} [dim](best {shown(best)})[/]"


def shown_target(target: Target | None, *, relative: bool) -> str:
    """The bound, with a times sign when it is one on the ratio."""
    return "" if target is None else f"{SIGNS[target.direction]} {target.bound:g}{'x' if relative else ''}"


def shown_ratio(item: Judged) -> str:
    """The grid's number as a multiple of the peer's."""
    if item.comparison.peer is None:
        return ""
    return ABSENT if item.ratio is None else f"{item.ratio:.2f}x"


def build(judged: Sequence[Judged], outcomes: Mapping[Case, Outcome], title: str) -> Table:
    """One row a comparison, a rule between sections."""
    table = Table(title=title, title_justify="left")
    for heading in ("section", "what", "grid", "measured", "peer", "measured", "ratio", "target", ""):
        table.add_column(heading, justify="right" if heading in ("measured", "ratio", "target") else "left")
    section = ""
    for item in judged:
        row = item.comparison
        if section and section != row.grid.case.section:
            table.add_section()
        section = row.grid.case.section
        table.add_row(
            section,
            row.what,
            row.grid.name,
            shown_source(row.grid, item.mine, outcomes),
            row.peer.name if row.peer else "",
            shown_source(row.peer, item.theirs, outcomes),
            shown_ratio(item),
            shown_target(row.target, relative=row.peer is not None),
            MARKS[item.verdict],
        )
    return table
