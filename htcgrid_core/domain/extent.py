"""How many of a session's events are looked at by the schema of its function, before any of them is written."""

from __future__ import annotations

from typing import Literal, get_args

from htcgrid_core.domain.errors import InvalidInput

Extent = Literal["all", "sample", "off"]
SAMPLE_ROWS = 1_000  # the first ones, and of those after them
SAMPLE_STEP = 100  # one in so many


def check_extent(extent: object) -> None:
    """Whether it is one.

    Raises:
        InvalidInput: it is none.
    """
    if extent not in get_args(Extent):
        raise InvalidInput(f"validate={extent!r}: {', '.join(get_args(Extent))}")


def is_looked_at(extent: Extent, row: int) -> bool:
    """Whether the event of this number, from 0 on, is checked."""
    return extent == "all" or (extent == "sample" and (row < SAMPLE_ROWS or row % SAMPLE_STEP == 0))
