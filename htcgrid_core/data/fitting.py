"""Rows into the columns that a table has already: only where no value is changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from htcgrid_core.client.result_sink import ResultRows
from htcgrid_core.domain.errors import InvalidInput


def fitted(rows: ResultRows, target: Any, name: str) -> tuple[Any, Iterator[Any]]:
    """A schema for the rows and their batches, with the columns of a table in its order.

    Args:
        target: Arrow's schema of the table; columns that the rows have not are null.

    Raises:
        InvalidInput: the table lacks a column, or has one of a type that would change values; of the batches, a value
            that does not fit.
    """
    own = rows.schema()
    missing = [column for column in own.names if column not in target.names]
    if missing:
        raise InvalidInput(f"{name} has no column {missing[0]!r}, which the results have: add it to the table")
    for field in target:
        at = own.get_field_index(field.name)
        if at >= 0 and not rows.is_empty(field.name):
            _check_fits(own.field(at), field, name)
        elif not field.nullable:
            raise InvalidInput(f"{name}: column {field.name!r} may not be null, and the results have none of it")
    return target, _cast(rows.batches(), target, name)


def check_case(rows: ResultRows, name: str) -> None:
    """Whether a new table can tell the columns apart, of one that does not by capitals.

    Raises:
        InvalidInput: it cannot.
    """
    seen: dict[str, str] = {}
    for column in rows.schema().names:
        other = seen.setdefault(column.lower(), column)
        if other != column:
            raise InvalidInput(f"{name} was not written: columns {other!r} and {column!r} are the same to it")


def _check_fits(own: Any, field: Any, name: str) -> None:
    if not _fits(own.type, field.type):
        raise InvalidInput(
            f"{name}: column {field.name!r} is {field.type}, and {own.type} in the results, which would be changed"
        )


def _fits(own: Any, there: Any) -> bool:
    """Whether a type's values can be those of another one; each value is then looked at."""
    import pyarrow.types as types

    if own == there or (types.is_string(own) and (types.is_large_string(there) or types.is_string_view(there))):
        return True
    if types.is_integer(own):
        return bool(types.is_integer(there) or types.is_floating(there) or types.is_decimal(there))
    if types.is_decimal(own):
        return bool(types.is_decimal(there) and there.scale >= own.scale)
    if types.is_timestamp(own) and types.is_timestamp(there):
        return (own.tz is None) == (there.tz is None) and there.unit in ("us", "ns")
    if (types.is_list(own) or types.is_large_list(own)) and (types.is_list(there) or types.is_large_list(there)):
        return _fits(own.value_type, there.value_type)
    if types.is_struct(own) and types.is_struct(there) and own.num_fields == there.num_fields:
        pairs = [(own.field(at), there.field(at)) for at in range(own.num_fields)]
        return all(a.name == b.name and _fits(a.type, b.type) for a, b in pairs)
    return False


def _cast(batches: Iterator[Any], target: Any, name: str) -> Iterator[Any]:
    import pyarrow as arrow

    for batch in batches:
        columns = []
        for field in target:
            at = batch.schema.get_field_index(field.name)
            try:
                is_null = at < 0 or batch.column(at).null_count == batch.num_rows
                if not field.nullable and (is_null or batch.column(at).null_count):
                    raise InvalidInput(f"{name}: column {field.name!r} may not be null, and is in some of the results")
                nulls = arrow.nulls(batch.num_rows, field.type)
                columns.append(nulls if is_null else batch.column(at).cast(field.type, safe=True))
            except arrow.ArrowException as error:
                raise InvalidInput(f"{name}: column {field.name!r} is {field.type}: {error}") from error
        yield arrow.RecordBatch.from_arrays(columns, schema=target)


@contextlib.contextmanager
def streamed(schema: Any, batches: Iterator[Any]) -> Iterator[Any]:
    """Batches as a stream for a library, out of which comes what they raise, and not what the library makes of it."""
    import pyarrow as arrow

    raised: list[Exception] = []

    def remembered() -> Iterator[Any]:
        try:
            yield from batches
        except Exception as error:
            raised.append(error)
            raise

    try:
        yield arrow.RecordBatchReader.from_batches(schema, remembered())
    except Exception as error:
        if raised:
            raise raised[0] from error
        raise
