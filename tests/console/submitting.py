"""Sessions to look at."""

from __future__ import annotations

from typing import Any

from htcgrid_core import Grid, Session
from tests.console import handlers

HANDLER = f"{handlers.__name__}.{handlers.task.__name__}"


def submit(grid: Grid, events: list[Any], **options: Any) -> Session:
    """One whose tasks do what their events say: see ``handlers.task``; a task that fails is not tried again."""
    options.setdefault("retry", 1)
    return grid.submit(HANDLER, events, **options)
