"""Arrow IPC: files and streams, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from htcgrid_core.domain.errors import InvalidInput

ROWS = 10_000  # of a batch that are made Python's objects at once
_MAGIC, _END = b"ARROW1", b"\xff\xff\xff\xff\0\0\0\0"  # of a file's beginning, of a stream's end


def ipc_batches(stream: BinaryIO, name: str, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """The batches of a file or a stream.

    Raises:
        InvalidInput: it is neither, or damaged, or cut short.
    """
    import pyarrow as arrow

    number = 0
    try:
        for batch in _batches(stream):
            for part in sliced(batch if columns is None else batch.select(list(columns))):
                yield part
                number += part.num_rows
    except (arrow.ArrowException, OSError) as error:
        raise InvalidInput(f"{name}, after row {number}: not Arrow IPC, or damaged ({error})") from error


def ipc_schema(stream: BinaryIO) -> Any:
    """The schema of a file or a stream."""
    return _reader(stream).schema


def sliced(batch: Any) -> Iterator[Any]:
    """A batch in parts of which little is made at once."""
    for at in range(0, batch.num_rows, ROWS):
        yield batch.slice(at, ROWS)


def _batches(stream: BinaryIO) -> Iterator[Any]:
    reader = _reader(stream)
    if hasattr(reader, "num_record_batches"):
        yield from map(reader.get_batch, range(reader.num_record_batches))
    else:
        yield from reader


def _reader(stream: BinaryIO) -> Any:
    import pyarrow.ipc as ipc

    head = stream.read(len(_MAGIC))
    stream.seek(0)
    if head == _MAGIC:
        return ipc.open_file(stream)
    stream.seek(-len(_END), 2)
    is_whole = stream.read(len(_END)) == _END  # pyarrow reads a stream that is cut between two batches to its new end
    stream.seek(0)
    if not is_whole:
        raise OSError("its end is missing")
    return ipc.open_stream(stream)
