"""What goes to stdout and stderr: JSON for programs, tables and sentences for people."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.rows import Rows
from htcgrid_core.domain.printable import json_printable, printable

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS = 200  # width of a table where there is no terminal to fit


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
    """A console as wide as its terminal, or as COLUMNS says; a pipe has no width, and does not squeeze tables."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    has_width = stream.isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, highlight=False, width=None if has_width else PIPE_COLUMNS)


def table(
    *headings: str,
    numbers: Sequence[str] = (),
    folds: Sequence[str] = (),
    cuts: Sequence[str] = (),
    spares: Sequence[str] = (),
) -> Rows:
    """An empty table; see Rows."""
    return Rows(*headings, numbers=numbers, folds=folds, cuts=cuts, spares=spares)


def add_row(made: Rows, *cells: object) -> None:
    """Add a row of plain text."""
    made.add(*cells)


def show(rows: Rows) -> None:
    """Print a table on stdout; one that is too wide for any terminal is cut nowhere."""
    console().print(rows, crop=False)


def counted(count: int, noun: str) -> str:
    """A number and what it counts: 1 agent, 2,000 tasks."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def number(count: int) -> str:
    """A number; nothing for none, so that what there is stands out."""
    return f"{count:,}" if count else ""


def memory_size(size_bytes: int) -> str:
    """Memory as people say it: 412 MiB, 1.9 GiB."""
    unit, each = next((one for one in (("TiB", 1 << 40), ("GiB", 1 << 30)) if size_bytes >= one[1]), ("MiB", 1 << 20))
    amount = size_bytes / each
    return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:,.0f} {unit}"


def moment(seconds: float | None) -> str:
    """A wall-clock time in local time, to the second."""
    return "" if not seconds else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def short_moment(seconds: float | None) -> str:
    """A wall-clock time in local time, for tables: of today only the time."""
    if not seconds:
        return ""
    at, today = time.localtime(seconds), time.localtime()
    day = "" if (at.tm_year, at.tm_yday) == (today.tm_year, today.tm_yday) else "%Y-%m-%d "
    return time.strftime(f"{day}%H:%M:%S", at)


def duration(seconds: float) -> str:
    """A time span as people say it: 0.4 ms, 12 ms, 3.4 s, 5 m 06 s, 2 h 03 m, 8 d 16 h."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m" if hours < 48 else f"{hours // 24} d {hours % 24:02d} h"
