"""Tables for people that fit their terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from htcgrid_core.domain.printable import printable_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

STYLES = {"COMPLETED": "green", "FAILED": "red", "CANCELLED": "yellow", "CANCELLING": "yellow", "RUNNING": "cyan"}
BETWEEN = 2  # columns of a terminal between those of a table
FOLDED = 10  # at least so wide is a column that gives way


class Rows:
    """Rows of plain text under headings: states are coloured, and nothing is taken for markup.

    A column stands in one piece, but for those that may fold or be cut: these share what is left of the terminal. What
    can be spared is left out where it is too narrow, or where nothing stands in it.

    Args:
        numbers: headings of right-aligned columns.
        folds: headings of those that may take several lines: sentences, and no ids.
        cuts: headings of those that may lose their ends: names.
        spares: headings of those that can be left out, first those that are needed least.
    """

    def __init__(
        self,
        *headings: str,
        numbers: Sequence[str] = (),
        folds: Sequence[str] = (),
        cuts: Sequence[str] = (),
        spares: Sequence[str] = (),
    ) -> None:
        self._headings = headings
        self._numbers = numbers
        self._cuts = cuts
        self._yields = (*folds, *cuts)
        self._spares = spares
        self._rows: list[list[str]] = []

    def add(self, *cells: object) -> None:
        """Add a row, a cell for each heading."""
        self._rows.append([printable_line(str(cell)) for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        shown = self._fitting(options.max_width)
        room = max(0, options.max_width - self._width(shown))  # for those that give way
        made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        made.width = min(self._width(shown) + room, self._width(shown, least=False))
        for at in shown:
            heading, is_cut = self._headings[at], self._headings[at] in self._cuts
            made.add_column(
                heading,
                justify="right" if heading in self._numbers else "left",
                overflow="ellipsis" if is_cut else "fold",
                no_wrap=is_cut,
                min_width=None if heading in self._yields else self._natural(at),
                max_width=self._least(at) + room if is_cut else None,
            )
        for row in self._rows:
            made.add_row(*(Text(row[at], style=STYLES.get(row[at], "")) for at in shown))
        yield made

    def _fitting(self, width: int) -> list[int]:
        """The columns that are shown."""
        shown = list(range(len(self._headings)))
        for spare in self._spares:
            if not any(row[self._headings.index(spare)] for row in self._rows):
                shown.remove(self._headings.index(spare))
        for spare in self._spares:
            if self._width(shown) <= width:
                break
            if (at := self._headings.index(spare)) in shown:
                shown.remove(at)
        return shown

    def _width(self, shown: Sequence[int], *, least: bool = True) -> int:
        return sum(map(self._least if least else self._natural, shown)) + BETWEEN * (len(shown) - 1)

    def _least(self, at: int) -> int:
        natural = self._natural(at)
        return min(FOLDED, natural) if self._headings[at] in self._yields else natural

    def _natural(self, at: int) -> int:
        from rich.cells import cell_len

        return max(map(cell_len, (self._headings[at], *(row[at] for row in self._rows))))
