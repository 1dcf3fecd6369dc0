"""Events as Parquet: a dict for each row, of Python's values or of what JSON has for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from htcgrid_core.client.files.arrow_values import VALUE_ERRORS, json_values, python_values
from htcgrid_core.client.files.compression import is_compressed
from htcgrid_core.client.files.options import ParquetOptions
from htcgrid_core.domain.errors import InvalidInput

PARQUET_ROWS = 10_000  # rows held at once
_MAX_MICROSECONDS = 2**63 // 1000 - 1  # of which the nanoseconds fit 64 bits
Convert = Callable[[Any], list[Any]]


def python_rows(stream: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
    """Rows as pyarrow makes them: dates, Decimals, UUIDs."""
    return _rows(stream, name, python_values)


def json_rows(stream: BinaryIO, name: str, options: ParquetOptions) -> Iterator[dict[str, Any]]:
    """Rows as JSON has them: ISO 8601 texts for dates and times, decimals as the options say."""
    return _rows(stream, name, lambda array: json_values(array, options.decimals))


def _rows(stream: BinaryIO, name: str, convert: Convert) -> Iterator[dict[str, Any]]:
    return rows_of(parquet_batches(stream, name), name, convert)


def rows_of(batches: Iterable[Any], name: str, convert: Convert) -> Iterator[dict[str, Any]]:
    """A dict for each row of Arrow's batches.

    Args:
        name: what errors call whatever the batches are of; rows count from its beginning.

    Raises:
        InvalidInput: a value cannot be had unchanged, with its row and column.
    """
    number = 0
    for batch in batches:
        names = batch.schema.names
        columns = [_column(batch.column(at), convert, names[at], name, number) for at in range(len(names))]
        number += batch.num_rows
        rows = zip(*columns, strict=True) if columns else [()] * batch.num_rows
        for row in rows:
            yield dict(zip(names, row, strict=True))


def parquet_batches(stream: BinaryIO, name: str, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """Arrow's batches of a Parquet file.

    Args:
        columns: only these.

    Raises:
        InvalidInput: it is no Parquet file, or damaged, or cut short; or pyarrow is missing.
    """
    try:
        import pyarrow as arrow
    except ImportError as error:
        raise InvalidInput(f"{name}: reading Parquet needs pyarrow (`pip install pyarrow`)") from error
    if is_compressed(stream):
        raise InvalidInput(f"{name}: Parquet is compressed inside, and cannot be read out of .gz or .zst: unpack it")
    number = 0
    try:
        for batch in _batches(stream, name, columns):
            yield batch
            number += batch.num_rows
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{name}, after row {number}: not Parquet ({error})") from error


def _batches(stream: BinaryIO, name: str, wanted: Sequence[str] | None) -> Iterator[Any]:
    """Batches of rows, with the old timestamps of Spark and Impala (int96) as they were written.

    pyarrow takes them for nanoseconds, in which only 1677 to 2262 are.
    """
    import pyarrow.parquet as parquet

    file = parquet.ParquetFile(stream, coerce_int96_timestamp_unit="us")
    check_names(file.schema_arrow, name)
    columns = map(file.schema.column, range(len(file.schema)))
    old = [column.path for column in columns if column.physical_type == "INT96"]
    if wanted is not None:
        old = [path for path in old if path.partition(".")[0] in wanted]
    batches = file.iter_batches(batch_size=PARQUET_ROWS, columns=None if wanted is None else list(wanted))
    if not old:
        yield from batches
        return
    number = 0
    digits = parquet.ParquetFile(stream, coerce_int96_timestamp_unit="ns")
    for batch, beside in zip(batches, digits.iter_batches(batch_size=PARQUET_ROWS, columns=old), strict=True):
        yield _with_nanoseconds(batch, beside, name, number)
        number += batch.num_rows


def _with_nanoseconds(batch: Any, beside: Any, name: str, first: int) -> Any:
    """A batch in which an int96 column that needs them has nanoseconds."""
    import pyarrow as arrow
    import pyarrow.compute as compute

    for column in beside.schema.names:
        micro, nano = batch.column(column), beside.column(column)
        if not arrow.types.is_timestamp(micro.type):
            continue  # inside of others
        counted = micro.cast(arrow.int64())
        digits = compute.subtract(nano.cast(arrow.int64()), compute.multiply(counted, 1000))
        if not compute.any(compute.not_equal(digits, 0)).as_py():
            continue
        wrapped = compute.greater(compute.abs(counted), _MAX_MICROSECONDS)
        if compute.any(wrapped).as_py():
            row = first + compute.index(wrapped, True).as_py()
            raise InvalidInput(
                f"{name}, row {row}, column {column!r}: a time outside of 1677 to 2262 among nanoseconds"
            )
        batch = batch.set_column(batch.schema.get_field_index(column), column, nano)
    return batch


def check_names(schema: Any, name: str) -> None:
    """Refuse names that stand twice: one of the two values would be lost."""
    import pyarrow as arrow

    def fields_of(kind: Any) -> Iterator[Any]:
        return map(kind.field, range(kind.num_fields))

    def check(names: list[str], where: str) -> None:
        twice = [column for column, count in Counter(names).items() if count > 1]
        if twice:
            raise InvalidInput(f"{name}: {where} has {twice[0]!r} twice")

    def look(kind: Any, where: str) -> None:
        kind = getattr(kind, "storage_type", kind)
        if arrow.types.is_struct(kind):
            check([field.name for field in fields_of(kind)], where)
        for field in fields_of(kind):
            look(field.type, where)

    check(schema.names, "the file")
    for field in schema:
        look(field.type, f"column {field.name!r}")


def _column(array: Any, convert: Convert, column: str, name: str, first: int) -> list[Any]:
    """The values of a column.

    Raises:
        InvalidInput: one of them has no such value, with its row.
    """
    try:
        return convert(array)
    except VALUE_ERRORS:
        for row in range(len(array)):
            try:
                convert(array.slice(row, 1))
            except VALUE_ERRORS as error:
                raise InvalidInput(f"{name}, row {first + row}, column {column!r}: {error}") from error
        raise
