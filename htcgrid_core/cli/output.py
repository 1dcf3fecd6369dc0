"""What goes to stdout and stderr: JSON for programs, tables and sentences for people."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.domain.printable import json_printable, printable, printable_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_COLUMNS = 200  # width of a table where there is no terminal to fit
STYLES = {"COMPLETED": "green", "FAILED": "red", "CANCELLED": "yellow", "CANCELLING": "yellow", "RUNNING": "cyan"}


def json_bytes(value: Any) -> bytes:
    """``value`` as one line of JSON, UTF-8; what is not JSON (a pickled result) stands as its repr.

    NaN and infinities are written as Python writes them.
    """
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(repr(value), ensure_ascii=False)
    # A lone surrogate has no UTF-8; like control characters it is written as the escape that JSON has.
    return json_printable(text).encode() + b"\n"


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout."""
    click.echo(json_bytes(value), nl=False)


def say(text: str) -> None:
    """A sentence for people, on stderr."""
    echo(text, err=True)


def echo(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Text that may be of a session, with nothing in it that a terminal or a CI system would obey."""
    click.echo(printable(text), nl=nl, err=err)


def console(*, stderr: bool = False) -> Console:
    """A console on stdout that does not squeeze tables into 80 columns of a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else PIPE_COLUMNS)


def table(*headings: str, numbers: Sequence[str] = ()) -> Table:
    """An empty table; the columns named in ``numbers`` are right-aligned."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        made.add_column(heading, justify="right" if heading in numbers else "left", overflow="fold")
    return made


def add_row(made: Table, *cells: object) -> None:
    """Add a row of plain text; a state is coloured, and nothing is taken for markup."""
    from rich.text import Text

    texts = [printable_line(str(cell)) for cell in cells]
    made.add_row(*(Text(text, style=STYLES.get(text, "")) for text in texts))


def moment(seconds: float | None) -> str:
    """A wall-clock time in local time, to the second."""
    return "" if not seconds else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def duration(seconds: float) -> str:
    """A time span as people say it: 0.4 ms, 12 ms, 3.4 s, 5 m 06 s, 2 h 03 m."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"
