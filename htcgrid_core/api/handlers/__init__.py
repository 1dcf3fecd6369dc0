"""What each operation of the table does."""

from __future__ import annotations

from collections.abc import Mapping

from htcgrid_core.api.call import Handler
from htcgrid_core.api.handlers import (
    aliases,
    audit,
    costs,
    destinations,
    functions,
    grid,
    inputs,
    sessions,
    tasks,
    uploads,
    waits,
)

HANDLERS: Mapping[str, Handler] = {
    **grid.HANDLERS,
    **sessions.HANDLERS,
    **uploads.HANDLERS,
    **waits.HANDLERS,
    **tasks.HANDLERS,
    **inputs.HANDLERS,
    **functions.HANDLERS,
    **aliases.HANDLERS,
    **destinations.HANDLERS,
    **audit.HANDLERS,
    **costs.HANDLERS,
}
