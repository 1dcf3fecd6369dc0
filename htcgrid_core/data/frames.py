"""Data frames and Arrow tables as events: a dict for each row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from htcgrid_core.client.files.arrow_values import json_values, python_values
from htcgrid_core.client.files.parquet_events import check_names, rows_of
from htcgrid_core.data.arrow_files import sliced
from htcgrid_core.data.base import Source, missing
from htcgrid_core.domain.errors import InvalidInput


class FrameSource(Source):
    """The rows of a table that is in memory: of pandas (without its index), polars or pyarrow.

    What pandas takes for missing, NaN among it, is null. A column of polars or pyarrow keeps NaN.
    """

    def __init__(self, frame: Any) -> None:
        self.name = f"a {type(frame).__module__.partition('.')[0]} {type(frame).__name__}"
        self._table = _table_of(frame, self.name)
        check_names(self._table.schema, self.name)

    def identity(self) -> str:
        """What is in it."""
        digest = hashlib.blake2b(str(self._table.schema).encode(), digest_size=16)
        for row in self.rows(as_json=False):
            digest.update(repr(tuple(row.values())).encode("utf-8", "surrogatepass"))
        return f"frame {digest.hexdigest()}"

    def rows(self, *, as_json: bool) -> Iterator[Any]:
        """See ``Source``."""
        convert = (lambda array: json_values(array, "text")) if as_json else python_values
        return rows_of((part for one in self._table.to_batches() for part in sliced(one)), self.name, convert)


class StreamSource(Source):
    """A stream of Arrow's batches (a RecordBatchReader): read once, and so staged before it is submitted."""

    def __init__(self, reader: Any) -> None:
        self.name = "a stream of Arrow's batches"
        self._reader = reader
        check_names(reader.schema, self.name)

    @property
    def is_ordered(self) -> bool:
        """Nobody knows what it would be at another reading."""
        return False

    def identity(self) -> str:
        """It has none: what comes of it is not known before it is read."""
        raise InvalidInput(f"{self.name} has no identity to make a token of: say token=")

    def rows(self, *, as_json: bool) -> Iterator[Any]:
        """See ``Source``.

        Raises:
            InvalidInput: it was read already, or breaks off.
        """
        if self._reader is None:
            raise InvalidInput(f"{self.name} was read already: make it again")
        reader, self._reader = self._reader, None
        convert = (lambda array: json_values(array, "text")) if as_json else python_values
        return rows_of(self._batches(reader), self.name, convert)

    def _batches(self, reader: Any) -> Iterator[Any]:
        import pyarrow as arrow

        try:
            for batch in reader:
                yield from sliced(batch)
        except (arrow.ArrowException, OSError) as error:
            raise InvalidInput(f"{self.name} breaks off: {error}") from error


def is_frame(value: Any) -> bool:
    """Whether it is a table of pandas, polars or pyarrow."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    return (library, kind.__name__) in {
        ("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table"), ("pyarrow", "RecordBatch"),
    }  # fmt: skip


def is_stream(value: Any) -> bool:
    """Whether it is a reader of Arrow's batches."""
    return type(value).__module__.partition(".")[0] == "pyarrow" and hasattr(value, "read_next_batch")


def _table_of(frame: Any, name: str) -> Any:
    try:
        import pyarrow as arrow
    except ImportError as error:
        raise missing(f"{name}: reading a frame", "pyarrow", error) from error
    try:
        if isinstance(frame, arrow.Table):
            return frame
        if isinstance(frame, arrow.RecordBatch):
            return arrow.Table.from_batches([frame])
        if hasattr(frame, "to_arrow"):
            return frame.to_arrow()
        return arrow.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    except (arrow.ArrowException, ValueError, TypeError) as error:
        raise InvalidInput(f"{name} has a column of several types, which are no events: {error}") from error
