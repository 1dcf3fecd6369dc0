"""Rows of an outbox as JSON, as every kind of grid stores them; names that are not known are ignored."""

from __future__ import annotations

from dataclasses import asdict, fields

import orjson

from htcgrid_core.domain.notification import Notification, NotificationState

_NAMES = frozenset(field.name for field in fields(Notification))
_BESIDE = frozenset({"session_id", "to", "version"})  # which are columns or keys of their own


def text_of(row: Notification) -> str:
    """A row but for its key and version."""
    return orjson.dumps({name: value for name, value in asdict(row).items() if name not in _BESIDE}).decode()


def row_of(session_id: str, to: str, version: str, text: str | bytes) -> Notification:
    """What some release has written. One in a state that this release does not know is left to the others."""
    found = {name: value for name, value in orjson.loads(text).items() if name in _NAMES - _BESIDE}
    states = set(NotificationState)
    state = found.pop("state")
    return Notification(
        session_id, to, version, NotificationState(state) if state in states else NotificationState.REFUSED, **found
    )
