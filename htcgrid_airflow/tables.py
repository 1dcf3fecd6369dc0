"""Sources of events and sinks of results as operators are given them: by URI, by an Airflow connection, or held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseHook

from htcgrid_airflow.callables import Held
from htcgrid_airflow.nested import fetched
from htcgrid_core import EventSource, InvalidInput, ResultSink, sink, source

Place = str | Mapping[str, Any] | Any


def source_of(given: Place) -> EventSource:
    """The events of a URI, of ``{"place": URI, ...options}`` or of ``{"conn_id": ..., "query": ...}``.

    Raises:
        InvalidInput: it is none of these, or cannot be read.
    """
    place, options = _place(given, "source")
    return place if isinstance(place, EventSource) and not options else source(place, **options)


def sink_of(given: Place) -> ResultSink:
    """The sink of a URI, of ``{"place": URI, ...options}`` or of ``{"conn_id": ..., "table": ...}``.

    Raises:
        InvalidInput: it is none of these.
    """
    place, options = _place(given, "sink")
    return place if isinstance(place, ResultSink) and not options else sink(place, **options)


def _place(given: Place, name: str) -> tuple[Any, dict[str, Any]]:
    """Where it is, and its options."""
    if isinstance(given, Held):
        return given.function(), {}
    if not isinstance(given, Mapping):
        return given, {}
    options = dict(fetched(dict(given)))
    place, conn_id = options.pop("place", None), options.pop("conn_id", None)
    if (place is None) == (conn_id is None):
        raise InvalidInput(f'{name}: either "place" or "conn_id" is needed, beside the options')
    if conn_id is None:
        return place, options
    return BaseHook.get_hook(conn_id), options  # of which the core takes SQLAlchemy's engine
