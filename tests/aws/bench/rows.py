"""A number, its budget and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.table import Table
from rich.text import Text

MARKS = {True: "[green]✔ pass[/]", False: "[red]✘ miss[/]", None: ""}
SIGNS = {"at least": "≥", "at most": "≤"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        beside: what it is compared with, in words.
    """

    what: str
    value: float
    beside: str = ""
    direction: Literal["at least", "at most"] = "at most"
    budget: float | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the budget is kept; None without one."""
        if self.budget is None:
            return None
        return self.value >= self.budget if self.direction == "at least" else self.value <= self.budget

    @property
    def shown_budget(self) -> str:
        """With its sign."""
        return "" if self.budget is None else f"{SIGNS[self.direction]} {self.budget:g}"


def shown(value: float) -> str:
    """A number with about three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def table_of(title: str, rows: list[Row]) -> Table:
    """For people."""
    table = Table("what", "measured", "beside", "budget", "", title=title, title_justify="left")
    table.columns[1].justify = table.columns[3].justify = "right"
    for row in rows:
        table.add_row(row.what, shown(row.value), row.beside, row.shown_budget, MARKS[row.passed])
    return table


def markdown_of(table: Table) -> str:
    """A table as documents have it."""
    columns = [[Text.from_markup(str(cell)).plain for cell in column.cells] for column in table.columns]
    lines = [[str(column.header) for column in table.columns], ["---"] * len(columns), *zip(*columns, strict=True)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
