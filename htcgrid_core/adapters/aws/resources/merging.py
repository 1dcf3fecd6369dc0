"""Writing a grid's parameter so that no pool is lost of others who write it at the same time."""

from __future__ import annotations

from htcgrid_core.adapters.aws.parameter import Defaults, GridParameter, parse
from htcgrid_core.adapters.aws.resources.parameters import Parameter, text_of


def write_merged(found_by: Parameter, grid: str, mine: GridParameter, planned_with: Defaults) -> GridParameter:
    """Write what a grid has, with what it has by now.

    SSM cannot write on a condition, but numbers the versions, and keeps them: whoever wrote over a version that they
    had not read writes again, with what that one says.

    Args:
        planned_with: the defaults that the parameter had when ``mine`` was planned: those that differ were asked for.

    Returns:
        What the parameter says now.

    Raises:
        IncompatibleGrid: another version of this package wrote it meanwhile.
    """
    was_asked = mine.defaults != planned_with

    def with_(text: str) -> GridParameter:
        theirs = parse(grid, text)
        keep = was_asked or theirs.defaults == planned_with
        update = {"queues": {**theirs.queues, **mine.queues}, "defaults": mine.defaults if keep else theirs.defaults}
        return mine.model_copy(update=update)

    while True:
        before = found_by.read()
        if before is not None:
            mine = with_(before[1])
        version = found_by.write(text_of(mine), over=before is not None)
        if version is None:
            continue  # somebody else made it just now
        written = mine
        for unread in range(1 if before is None else before[0] + 1, version):
            if (lost := found_by.read(unread)) is not None:
                mine = with_(lost[1])
        if mine == written:
            return mine
