"""Values that JSON lacks and files of results have: as the text of their standard, or as they are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from htcgrid_core.client.files.json_events import object_of

TYPED = (datetime, date, time, timedelta, Decimal, UUID)
TAG = "\0htcgrid"  # the only key of an object that stands for one of them, on its way through a file of our own


def text_of(value: object) -> str:
    """A date or time as ISO 8601 writes it, a duration in seconds, a decimal with its digits.

    Raises:
        TypeError: the value is none of these.
    """
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return _duration(value)
        case Decimal():
            return format(value, "f") if value.is_finite() else str(value)
        case UUID():
            return str(value)
    raise TypeError(f"a {type(value).__qualname__}")


def _duration(value: timedelta) -> str:
    seconds = abs(value) // timedelta(seconds=1)
    microseconds = (abs(value) % timedelta(seconds=1)).microseconds
    fraction = f".{microseconds:06d}" if microseconds else ""
    return f"{'-' if value < timedelta(0) else ''}PT{seconds}{fraction}S"


def tagged(value: object) -> dict[str, str]:
    """A value as JSON, of which ``untagged`` makes the same value again.

    Raises:
        TypeError: it is of none of these types.
    """
    kind = next((kind for kind in TYPED if isinstance(value, kind)), None)  # a datetime is a date, too, but comes first
    if kind is None:
        raise TypeError(f"a {type(value).__qualname__}")
    text = str(value // timedelta(microseconds=1)) if isinstance(value, timedelta) else text_of(value)
    return {TAG: f"{kind.__name__} {text}"}


def untagged(pairs: list[tuple[str, Any]]) -> Any:
    """An object, or the value that was tagged; for ``json.loads``."""
    if len(pairs) != 1 or pairs[0][0] != TAG:
        return object_of(pairs)
    kind, _, text = pairs[0][1].partition(" ")
    return _READ[kind](text)


_READ: dict[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda microseconds: timedelta(microseconds=int(microseconds)),
    "Decimal": Decimal,
    "UUID": UUID,
}
