"""A task vector from what an operator was given: a list, an XCom, a path, or a callable that yields events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from airflow.sdk import ObjectStoragePath

from htcgrid_airflow.callables import Held
from htcgrid_airflow.nested import fetched
from htcgrid_airflow.storage import is_stored, open_stored
from htcgrid_core import InvalidInput, events_from, events_in, format_of

FORMATS = ("jsonl", "json", "csv", "parquet")


def events_of(
    tasks: Any,
    *,
    kind: str | None = None,
    options: Mapping[str, Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    conn_id: str | None = None,
) -> Iterable[Any]:
    """The events, streamed from wherever they are.

    Args:
        tasks: an iterable of events; a path or URL of a JSON Lines, JSON, CSV or Parquet file; or a held callable
            that returns or yields the events.
        kind: the file's format, if its name does not tell it.
        options: how it is to be read, as for the core's ``events_in``.
        kwargs: for the callable.
        conn_id: the Airflow connection of the object storage, if the URL does not name it.

    Raises:
        InvalidInput: there are no events in it. What is wrong inside of a file is raised when the events are taken.
    """
    if isinstance(tasks, Held):
        return _checked(tasks.function(**fetched(dict(kwargs or {}))), str(tasks))
    if isinstance(tasks, ObjectStoragePath):
        return _stored(tasks, kind, options)
    if isinstance(tasks, str | Path):
        return _in_file(str(tasks), kind, options, conn_id)
    return _checked(fetched(tasks), "tasks")


def _checked(found: Any, name: str) -> Iterable[Any]:
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        raise InvalidInput(
            f"{name} is a {type(found).__name__}, not a vector of events: give a list, a path, or a callable that "
            "yields events"
        )
    return found


def _in_file(name: str, kind: str | None, options: Mapping[str, Any] | None, conn_id: str | None) -> Iterable[Any]:
    if kind is not None and kind not in FORMATS:
        raise InvalidInput(f"{kind!r} is not a format of events: {', '.join(FORMATS)}")
    if is_stored(name):
        return _stored(name, kind, options, conn_id)
    return events_in(name.removeprefix("file://"), cast("Any", kind), **dict(options or {}))


def _stored(
    place: str | ObjectStoragePath, kind: str | None, options: Mapping[str, Any] | None, conn_id: str | None = None
) -> Iterable[Any]:
    stream = open_stored(place, conn_id)
    known = cast("Any", kind) or format_of(str(place))
    return events_from(stream, str(place), known, closing=True, **dict(options or {}))
