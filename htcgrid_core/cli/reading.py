"""Options of commands that read a file of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from htcgrid_core.client.files.options import ReadOptions

_NAMES = ("separator", "decimal", "quote", "encoding", "decimals")


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of CSV and Parquet to a command."""
    options = (
        click.option("--separator", metavar="CHAR", help="CSV: between columns; tab is one too.  [default: ,]"),
        click.option("--decimal", type=click.Choice([".", ","]), help="CSV: with , 1.234,56 is read as 1234.56."),
        click.option("--quote", metavar="CHAR", help="CSV: around texts; '' if nothing is quoted.  [default: \"]"),
        click.option("--encoding", metavar="NAME", help="CSV: such as cp1252.  [default: utf-8]"),
        click.option(
            "--decimals",
            type=click.Choice(["text", "number"]),
            help="Parquet: decimals as texts with all digits, or as numbers.  [default: text]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def reading_of(options: dict[str, Any]) -> ReadOptions:
    """Take those that were given out of a command's options."""
    taken = {name: options.pop(name) for name in _NAMES}
    return cast("ReadOptions", {name: value for name, value in taken.items() if value is not None})
