"""Options that make one value of a session's results."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import click

from htcgrid_core.cli.output import print_json, say

if TYPE_CHECKING:
    from htcgrid_core.client.session import Session
    from htcgrid_core.reducers.base import Reducer

CONCAT = "concat"


def reduce_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--reduce`` and ``--of``."""
    reduce = click.option(
        "--reduce",
        multiple=True,
        metavar="NAME",
        help="Print one value of all results: count, sum, mean, variance, quantiles:0.01,0.5, histogram:0,10,100, "
        "top:10, bottom:10 or concat. Of several, an object.",
    )
    of = click.option("--of", metavar="FIELD", help="With --reduce: of this field of each result.")
    return reduce(of(command))


def reducer_of(names: Sequence[str], of: str | None) -> Reducer[Any, Any] | None:
    """The reducer that a command asks for, if it asks for one.

    Raises:
        InvalidInput: there is no such one.
    """
    if not names:
        if of is not None:
            raise click.UsageError("--of belongs to --reduce.")
        return None
    from htcgrid_core.reducers.named import reducer_named

    return reducer_named(names, of)


def print_reduced(
    session: Session,
    reducer: Reducer[Any, Any],
    errors: Literal["raise", "skip"] = "raise",
    *,
    timeout: float | None = None,
    progress: bool | None = None,
) -> None:
    """Wait for a session, and print what its results come to."""
    from htcgrid_core.reducers.named import plain

    session.wait(timeout, progress=sys.stderr.isatty() if progress is None else progress)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        value = plain(session.reduce(reducer, errors=errors))
    for one in found:  # what was left out, without where in this program it was told
        say(f"Warning: {str(one.message).partition(chr(10))[0]}")
    print_json(value)
