"""Results as Parquet: first to a file of JSON Lines that tells which columns hold them all, then into those."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, BinaryIO

from htcgrid_core.client.files.plain_values import TAG, untagged
from htcgrid_core.client.files.result_columns import Columns, row_of
from htcgrid_core.client.files.row_batches import batched
from htcgrid_core.domain.errors import InvalidInput, NotTabular, TaskFailed

_TAG = json.dumps(TAG).encode()


def write_table(results: Iterable[Any], stream: BinaryIO, as_json: Callable[[Any, int], bytes]) -> int:
    """Write results and return how many there were.

    Raises:
        NotTabular: a column of them would have values of different kinds.
        InvalidInput: a result is not JSON; or pyarrow is missing.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise InvalidInput("writing Parquet needs pyarrow (`pip install pyarrow`)") from error
    columns, failed = Columns(), bytearray()
    with tempfile.TemporaryFile() as lines:
        for index, result in enumerate(results):
            line = as_json(result, index)
            failed.append(isinstance(result, TaskFailed))
            if not failed[index]:
                columns.see(row_of(_checked(line, index), index), index)
            lines.write(line + b"\n")
        lines.seek(0)
        try:
            fixed = [("task_index", arrow.int64()), *columns.schema(), ("task_error", arrow.string())]
            schema = arrow.schema(fixed)
            with parquet.ParquetWriter(stream, schema) as writer:
                for batch in batched(_rows(lines, failed)):
                    writer.write_table(arrow.Table.from_pylist(batch, schema=schema))
        except (arrow.ArrowException, ValueError, TypeError) as error:
            if isinstance(error, NotTabular):
                raise
            raise NotTabular(str(error)) from error
    return len(failed)


def _checked(line: bytes, index: int) -> Any:
    try:
        return json.loads(line, object_pairs_hook=untagged)
    except (ValueError, RecursionError) as error:
        raise NotTabular(f"the result of task {index}: {error}") from error


def _rows(lines: IO[bytes], failed: bytearray) -> Iterator[tuple[dict[str, Any], int]]:
    """Each row, and how many bytes it has as JSON."""
    for index, line in enumerate(lines):
        plain = json.loads(line, object_pairs_hook=untagged if _TAG in line else None)
        if failed[index]:
            error = plain["error"]
            row: dict[str, Any] = {"task_error": f"{error['type']}: {error['message']}"}
        else:
            row = row_of(plain, index)
        row["task_index"] = index
        yield row, len(line)
