"""Results as databases have them: the types of columns, values for a driver, and lines for COPY."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from htcgrid_core.client.files.plain_values import text_of
from htcgrid_core.client.result_sink import INDEX, ResultRows
from htcgrid_core.data.sql_fitting import Fits
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.printable import printable_line

BLOCK_BYTES = 1 << 20
INT64 = range(-(2**63), 2**63)


def column_type(kind: Any, is_postgres: bool) -> str:
    """The type of a new table's column."""
    import pyarrow.types as types

    if types.is_decimal(kind):
        return f"NUMERIC({kind.precision}, {kind.scale})" if is_postgres else "TEXT"
    if types.is_timestamp(kind):
        return "TIMESTAMP WITH TIME ZONE" if is_postgres and kind.tz else "TIMESTAMP" if is_postgres else "TEXT"
    if types.is_nested(kind):
        return "JSONB" if is_postgres else "TEXT"
    simple = (
        (types.is_boolean, "BOOLEAN", "BOOLEAN"),
        (types.is_integer, "BIGINT", "BIGINT"),
        (types.is_floating, "DOUBLE PRECISION", "DOUBLE PRECISION"),
        (types.is_date, "DATE", "TEXT"),
        (types.is_time, "TIME", "TEXT"),
        (types.is_duration, "INTERVAL", "TEXT"),
    )
    for is_kind, postgres, other in simple:
        if is_kind(kind):
            return postgres if is_postgres else other
    return "TEXT"


def plain(value: Any, index: int, column: str) -> Any:
    """A value as every driver takes it: dates, times, decimals and the largest integers as texts, others as JSON.

    Raises:
        InvalidInput: it is NaN, or holds what JSON of databases has not.
    """
    if type(value) is int and value not in INT64:
        return str(value)
    if value != value:
        raise InvalidInput(f"the result of task {index}, {column!r}: NaN, of which this database would make null")
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, dict | list):
        return json_text(value, index, column)
    return text_of(value)


def json_text(value: Any, index: int, column: str) -> str:
    """An object or a list as JSON.

    Raises:
        InvalidInput: NaN or a NUL is in it, which databases refuse in JSON without saying in which row.
    """
    try:
        text = json.dumps(value, default=text_of, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InvalidInput(f"the result of task {index}, {column!r}: NaN or infinity in JSON ({error})") from error
    if "\\u0000" in text:
        raise InvalidInput(f"the result of task {index}, {column!r}: a NUL in JSON, which databases have not")
    return text


def copied(rows: ResultRows, columns: Sequence[str], checks: Mapping[str, Fits], name: str) -> Iterator[bytes]:
    """Rows as COPY reads them in its CSV format, in blocks: an empty field is null, a quoted one a value.

    Args:
        checks: by column, what tells whether it holds a value unchanged.

    Raises:
        InvalidInput: a value does not fit, or a text holds a NUL or half a surrogate, which PostgreSQL has not; with
            its task and column.
    """
    block: list[str] = []
    size = 0
    for row in rows.dicts():
        index = row[INDEX]
        for column, fits in checks.items():
            value = row.get(column)
            if value is not None and not fits(value):
                raise InvalidInput(
                    f"{name}: the result of task {index}, {column!r}: {printable_line(repr(value)[:80])} would be "
                    "changed by the type of that column"
                )
        line = ",".join([_field(row.get(column), index, column) for column in columns])
        block.append(line)
        size += len(line) + 1
        if size >= BLOCK_BYTES:
            yield ("\n".join(block) + "\n").encode()
            block, size = [], 0
    if block:
        yield ("\n".join(block) + "\n").encode()


def _field(value: Any, index: int, column: str) -> str:
    kind = type(value)
    if value is None:
        return ""
    if kind is bool:
        return "t" if value else "f"
    if kind is int or kind is float:
        return repr(value)
    text = value if kind is str else json_text(value, index, column) if kind in (dict, list) else text_of(value)
    if "\0" in text or not _is_utf8(text):
        raise InvalidInput(
            f"the result of task {index}, {column!r}: a NUL or half a surrogate, which PostgreSQL has not"
        )
    return '"' + text.replace('"', '""') + '"'


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
