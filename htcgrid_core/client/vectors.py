"""What people give as a vector and mean otherwise: refused, with what to write instead."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from htcgrid_core.domain.errors import InvalidInput


def check_vector(events: object) -> None:
    """Whether each item of ``events`` can be meant to be a task.

    Raises:
        InvalidInput: they are one value, or iterating them yields something else than rows.
    """
    check_no_table(events)
    kind = type(events).__name__
    if isinstance(events, Mapping):
        raise _refused(kind, "keys", "[event] for one task, or list(events.values())")
    if isinstance(events, str | bytes | bytearray):
        raise _refused(kind, "characters", "[event] for one task, or events_in(FILE) for the rows of a file")
    if isinstance(events, os.PathLike):
        raise InvalidInput(f"{_LEAD} a {kind} is no vector of events; write events_in(FILE) for the rows of a file")
    if isinstance(events, int):
        raise InvalidInput(f"{_LEAD} {events} is no vector of events; write range({events}) for so many tasks")
    if not isinstance(events, Iterable) and not hasattr(type(events), "__getitem__"):
        more = "call it for what it yields" if callable(events) else "write [event] for one task"
        raise InvalidInput(f"{_LEAD} a {kind} is no vector of events; {more}")


def check_no_table(events: object) -> None:
    """Whether iterating yields rows: that of a table yields the names of its columns, or the columns.

    Raises:
        InvalidInput: it is a table of pandas, polars, pyarrow or one like these.
    """
    kind = type(events)
    if hasattr(kind, "to_dicts") and hasattr(kind, "columns"):
        raise _refused(kind.__name__, "columns", "events.to_dicts()")
    if hasattr(kind, "to_pylist") and hasattr(kind, "column_names"):
        raise _refused(kind.__name__, "columns", "events.to_pylist()")
    if hasattr(kind, "to_dict") and hasattr(kind, "columns"):
        raise _refused(kind.__name__, "columns", 'events.to_dict("records")')


_LEAD = "the session was not submitted:"


def _refused(kind: str, parts: str, instead: str) -> InvalidInput:
    return InvalidInput(f"{_LEAD} the tasks of a {kind} would be its {parts}; write {instead}")
