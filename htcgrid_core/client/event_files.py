"""Events from files: JSON Lines, CSV and Parquet are streamed, a JSON array is read whole."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput

EventFormat = Literal["jsonl", "json", "csv", "parquet"]
_SUFFIXES: dict[str, EventFormat] = {".json": "json", ".csv": "csv", ".parquet": "parquet"}
PARQUET_ROWS = 10_000  # rows held at once


def events_in(path: Path | str, kind: EventFormat | None = None) -> Iterable[Any]:
    """The events in a file, for ``Grid.submit``.

    Args:
        kind: "jsonl": a JSON value on each line; "json": one array; "csv": a header and a row for each event, which
            becomes a dict of strings; "parquet": a dict for each row, which needs pyarrow. None to tell from the name:
            .json, .csv, .parquet, and JSON Lines for any other.

    Raises:
        InvalidInput: the file cannot be read. What is wrong inside it is raised, with its line number, when the
            events are taken.
    """
    path = Path(path)
    kind = kind or format_of(path.name)
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed by whoever takes the last event
    except OSError as error:
        raise InvalidInput(f"the events cannot be read: {error}") from error
    if kind == "json":
        with file:
            return _array(file, str(path))
    return _closed_after(file, events_from(file, str(path), kind))


def events_from(stream: BinaryIO, name: str, kind: EventFormat = "jsonl") -> Iterable[Any]:
    """The events in an open stream of bytes; as ``events_in``.

    Args:
        name: what errors call the stream.
    """
    if kind not in get_args(EventFormat):
        raise InvalidInput(f"{kind!r} is not a format of events: {', '.join(get_args(EventFormat))}")
    if kind == "json":
        return _array(stream, name)
    readers = {"jsonl": _lines, "csv": _rows, "parquet": _records}
    return readers[kind](stream, name)


def format_of(name: str) -> EventFormat:
    """The format that a file's name tells."""
    return _SUFFIXES.get(Path(name).suffix.lower(), "jsonl")


def _closed_after(file: BinaryIO, events: Iterable[Any]) -> Iterator[Any]:
    with file:
        yield from events


def _lines(stream: BinaryIO, name: str) -> Iterator[Any]:
    number = 0
    # Bounded, so that a file without line ends is told from its first line and not when memory is full.
    while line := stream.readline(limits.MAX_EVENT_BYTES + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) > limits.MAX_EVENT_BYTES:
            raise InvalidInput(f"{name}, line {number}: longer than {limits.MAX_EVENT_BYTES:,} bytes")
        if not line.strip():
            continue
        try:
            event = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            hint = ""
            if number == 1 and line.lstrip().startswith(b"["):
                hint = "; a file with one array in it must be named .json"
            raise InvalidInput(f"{name}, line {number}: not a JSON value ({_why(error)}){hint}") from error
        yield event


def _array(stream: BinaryIO, name: str) -> list[Any]:
    try:
        events = json.loads(stream.read().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        where = f"{name}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else name
        hint = "a file with a value on each line is .jsonl"
        raise InvalidInput(f"{where}: not JSON ({_why(error)}); {hint}") from error
    if not isinstance(events, list):
        raise InvalidInput(f"{name}: a {type(events).__name__}, not an array of events")
    return events


def _why(error: Exception) -> str:
    """What a JSON decoder objects to, but for the line, which we know better."""
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _rows(stream: BinaryIO, name: str) -> Iterator[dict[str, str]]:
    rows = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), strict=True)
    try:
        header = next(rows, None)
        if not header or len(set(header)) < len(header) or "" in header:
            raise InvalidInput(f"{name}, line 1: a header with a different name for each column is needed: {header}")
        for row in rows:
            if not row:
                continue  # an empty line
            if len(row) != len(header):
                raise InvalidInput(f"{name}, line {rows.line_num}: {len(row)} of {len(header)} columns")
            yield dict(zip(header, row, strict=True))
    except (csv.Error, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"{name}, line {rows.line_num + 1}: not CSV in UTF-8 ({error})") from error


def _records(stream: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise InvalidInput(f"{name}: reading Parquet needs pyarrow (`pip install pyarrow`)") from error
    number = 0
    try:
        for batch in parquet.ParquetFile(stream).iter_batches(batch_size=PARQUET_ROWS):
            yield from batch.to_pylist()
            number += batch.num_rows
    except (arrow.ArrowException, OSError) as error:
        raise InvalidInput(f"{name}, after row {number}: not Parquet ({error})") from error
