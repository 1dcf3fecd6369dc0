"""Python's values of databases as JSON, in the encoding that events of Parquet have."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from htcgrid_core.client.files.plain_values import text_of

PLAIN = frozenset((str, int, float, bool, type(None)))


def json_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row with what JSON has for each value.

    Raises:
        ValueError: one of them has no such text; it names the column.
    """
    return {name: value if type(value) in PLAIN else _named(name, value) for name, value in row.items()}


def _named(name: str, value: Any) -> Any:
    try:
        return json_value(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"column {name!r}: {error}") from error


def json_value(value: Any) -> Any:
    """What JSON has for a value: texts of ISO 8601 for times, in UTC if they have a zone; decimals with their digits.

    Raises:
        TypeError: there is nothing for it.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    convert = _CONVERT.get(kind)
    if convert is not None:
        return convert(value)
    if isinstance(value, (datetime, date, time, timedelta, Decimal, UUID)):  # classes of pandas and of drivers
        return json_value(_as_base(value))
    if hasattr(value, "tolist"):
        return json_value(value.tolist())
    raise TypeError(f"a {kind.__module__}.{kind.__qualname__} has no place in JSON: cast it to text in the query")


def _as_base(value: Any) -> Any:
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime()
    if hasattr(value, "to_pytimedelta"):
        return value.to_pytimedelta()
    raise TypeError(f"a {type(value).__qualname__} has no place in JSON")


def _moment(value: datetime) -> str:
    return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()


def _bytes(value: Any) -> str:
    return base64.b64encode(bytes(value)).decode()


def _list(value: Any) -> list[Any]:
    return [json_value(item) for item in value]


def _object(value: Any) -> dict[str, Any]:
    return {str(name): json_value(item) for name, item in value.items()}


_CONVERT: dict[type, Callable[[Any], Any]] = {
    datetime: _moment,
    date: text_of,
    time: text_of,
    timedelta: text_of,
    Decimal: text_of,
    UUID: text_of,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    list: _list,
    tuple: _list,
    dict: _object,
}


def json_rows(rows: Iterator[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    """Rows as JSON; errors name the row, counted from 0."""
    from htcgrid_core.domain.errors import InvalidInput

    for number, row in enumerate(rows):
        try:
            yield json_row(row)
        except ValueError as error:
            raise InvalidInput(f"{name}, row {number}, {error}") from error
