"""Events from files: JSON Lines, CSV and Parquet are streamed, a JSON array is read whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, Unpack, get_args

from htcgrid_core.client.files.compression import SUFFIXES, inflated
from htcgrid_core.client.files.csv_events import csv_header, csv_rows
from htcgrid_core.client.files.json_events import json_array, json_lines
from htcgrid_core.client.files.options import ReadOptions, options_of
from htcgrid_core.client.files.parquet_events import json_rows, python_rows
from htcgrid_core.client.files.typed_events import TypedEvents
from htcgrid_core.domain.errors import InvalidInput

EventFormat = Literal["jsonl", "json", "csv", "parquet"]
_SUFFIXES: dict[str, EventFormat] = {".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}


def events_in(path: Path | str, kind: EventFormat | None = None, **options: Unpack[ReadOptions]) -> Iterable[Any]:
    """The events in a file, for ``Grid.submit``.

    Args:
        kind: "jsonl": a JSON value on each line; "json": one array; "csv": a header and a row for each event, which
            becomes a dict of strings; "parquet": a dict for each row, which needs pyarrow. None to tell from the name:
            .json, .csv, .tsv, .parquet, and JSON Lines for any other. What is compressed by gzip or zstd is read too.
        options: for CSV ``separator``, ``decimal`` (the mark in numbers), ``quote`` and ``encoding``; for Parquet
            ``decimals``, "text" or "number": how a named handler gets them.

    Raises:
        InvalidInput: the file cannot be read. What is wrong inside it is raised, with its line or row, when the events
            are taken.
    """
    path = Path(path)
    kind = kind or format_of(path.name)
    _check_kind(kind)
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed by whoever takes the last event
    except OSError as error:
        raise InvalidInput(f"the events cannot be read: {error}") from error
    return events_from(file, str(path), kind, closing=True, **options)


def events_from(
    stream: BinaryIO, name: str, kind: EventFormat = "jsonl", *, closing: bool = False, **options: Unpack[ReadOptions]
) -> Iterable[Any]:
    """The events in an open stream of bytes; as ``events_in``.

    Args:
        name: what errors call the stream.
        closing: whether to close the stream after its last event.
    """
    _check_kind(kind)
    if kind == "csv" and _bare(name).endswith(".tsv"):
        options.setdefault("separator", "\t")
    chosen = options_of(kind, options)
    if kind == "parquet":
        return ParquetEvents(stream, name, chosen, closing=closing)
    if kind == "json":
        return list(_read(stream, name, closing, lambda: iter(json_array(inflated(stream, name), name))))
    if kind == "csv":
        return _read(stream, name, closing, lambda: csv_rows(inflated(stream, name), name, chosen))
    return _read(stream, name, closing, lambda: json_lines(inflated(stream, name), name))


def header_in(stream: BinaryIO, name: str, **options: Unpack[ReadOptions]) -> list[str]:
    """The names of the columns of CSV.

    Raises:
        InvalidInput: it has no header, or cannot be read.
    """
    if _bare(name).endswith(".tsv"):
        options.setdefault("separator", "\t")
    try:
        return csv_header(inflated(stream, name), name, options_of("csv", options))
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error}") from error


class ParquetEvents(TypedEvents):
    """The rows of a Parquet file, once: iterated, they have Python's dates, Decimals and UUIDs.

    A named handler gets JSON, so ``Grid.submit`` takes ``as_json()`` for it.
    """

    def __init__(self, stream: BinaryIO, name: str, options: Any, *, closing: bool) -> None:
        self._stream, self._name, self._options, self._closing = stream, name, options, closing

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._read(lambda: python_rows(self._stream, self._name))

    def as_json(self) -> Iterator[dict[str, Any]]:
        """The rows with ISO 8601 texts for dates and times, and decimals as ``decimals`` says."""
        return self._read(lambda: json_rows(self._stream, self._name, self._options))

    def _read(self, events: Any) -> Iterator[Any]:
        return _read(self._stream, self._name, self._closing, events)


def format_of(name: str) -> EventFormat:
    """The format that a file's name tells."""
    return _SUFFIXES.get(Path(_bare(name)).suffix, "jsonl")


def _bare(name: str) -> str:
    """A file's name in small letters without what says that it is compressed."""
    name = name.lower()
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def _check_kind(kind: str) -> None:
    if kind not in get_args(EventFormat):
        raise InvalidInput(f"{kind!r} is not a format of events: {', '.join(get_args(EventFormat))}")


def _read(stream: BinaryIO, name: str, closing: bool, events: Any) -> Iterator[Any]:
    """Events, of whose stream nothing but an InvalidInput is heard."""
    try:
        yield from events()
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error}") from error
    finally:
        if closing:
            stream.close()
