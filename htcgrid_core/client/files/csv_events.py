"""Events as CSV: a header, and a row for each event."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from htcgrid_core.client.files.options import CsvOptions
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput

_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_DECLARED = re.compile(r"sep=(.)\r?\n?")  # the first line that Excel understands
_COMMA_NUMBER = re.compile(r"[+-]?(\d+,\d+|\d{1,3}(\.\d{3})+(,\d+)?)([eE][+-]?\d+)?")


def csv_rows(stream: BinaryIO, name: str, options: CsvOptions) -> Iterator[dict[str, str]]:
    """A dict of texts for each row."""
    with _lines_in(stream, name, options) as lines:
        yield from _events(lines, name, options)


def csv_header(stream: BinaryIO, name: str, options: CsvOptions) -> list[str]:
    """The names of the columns.

    Raises:
        InvalidInput: there is no header.
    """
    with _lines_in(stream, name, options) as lines:
        reader, before = _reader(lines, options)
        try:
            header: list[str] = next(reader, [])
        except csv.Error as error:
            raise InvalidInput(f"{name}, line {before + 1}: not CSV ({error})") from error
        _check(header, f"{name}, line {before + 1}", guessed=not before and options.separator is None)
        return header


@contextlib.contextmanager
def _lines_in(stream: BinaryIO, name: str, options: CsvOptions) -> Iterator[Iterator[str]]:
    # Of the process, and only ever raised: Python's own limit of 128 KiB is less than many events.
    csv.field_size_limit(max(csv.field_size_limit(), limits.MAX_EVENT_BYTES))
    encoding = options.encoding.lower().replace("_", "-")
    encoding = "utf-8-sig" if encoding in ("utf-8", "utf8") else encoding  # Excel begins it with a mark
    # Bytes that are no text pass, so that they are found in their line and not in the block that was read ahead.
    text = io.TextIOWrapper(stream, encoding=encoding, errors="surrogateescape", newline="")
    try:
        yield _lines(text, name, encoding)
    finally:
        text.detach()  # whoever opened the stream closes it


def _reader(lines: Iterator[str], options: CsvOptions) -> tuple[Any, int]:
    """What reads the rows, and how many lines stand before them."""
    first = next(lines, "")
    declared = _DECLARED.fullmatch(first)
    separator = options.separator or (declared[1] if declared else None)
    quoting: Any = {"quotechar": options.quote} if options.quote else {"quoting": csv.QUOTE_NONE, "quotechar": None}
    lines = lines if declared else _again(first, lines)
    return csv.reader(lines, delimiter=separator or ",", strict=True, **quoting), int(bool(declared))


def _events(lines: Iterator[str], name: str, options: CsvOptions) -> Iterator[dict[str, str]]:
    reader, before = _reader(lines, options)
    begin = before  # lines before the row that is read
    try:
        header: list[str] = next(reader, [])
        _check(header, f"{name}, line {before + 1}", guessed=not before and options.separator is None)
        begin = reader.line_num + before
        for row in reader:
            if len(row) != len(header):
                if not row and len(header) > 1:
                    begin = reader.line_num + before
                    continue  # an empty line
                if row:
                    where = _lines_of(begin, reader.line_num + before)
                    raise InvalidInput(f"{name}, {where}: {len(row)} of {len(header)} columns")
                row = [""]  # of one column it is how a null is written, by DuckDB and Polars
            if options.decimal == ",":
                row = [_with_point(value) for value in row]
            yield dict(zip(header, row, strict=True))
            begin = reader.line_num + before
    except csv.Error as error:
        hint = "; if nothing is quoted, let the option quote be empty" if options.quote else ""
        where = _lines_of(begin, reader.line_num + before)
        raise InvalidInput(f"{name}, {where}: not CSV ({error}){hint}") from error


def _lines_of(begin: int, end: int) -> str:
    """The lines after ``begin`` up to ``end``, on which a row stands."""
    return f"line {end}" if end <= begin + 1 else f"lines {begin + 1} to {end}"


def _again(first: str, lines: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from lines


def _lines(text: io.TextIOWrapper, name: str, encoding: str) -> Iterator[str]:
    """Lines, of which only one is in memory."""
    number = 0
    try:
        while line := text.readline(limits.MAX_EVENT_BYTES + 1):
            number += 1
            if len(line) > limits.MAX_EVENT_BYTES:
                raise InvalidInput(f"{name}, line {number}: longer than {limits.MAX_EVENT_BYTES:,} characters")
            if not line.isascii():
                _check_text(line, f"{name}, line {number}", encoding)
            yield line
    except UnicodeError as error:  # an encoding in which not even that can pass
        raise InvalidInput(f"{name}, after line {number}: not {encoding} ({error})") from error


def _check_text(line: str, where: str, encoding: str) -> None:
    try:
        line.encode()
    except UnicodeEncodeError as error:
        byte = ord(line[error.start]) & 0xFF
        encoding = encoding.removesuffix("-sig").upper()
        raise InvalidInput(
            f"{where}: byte 0x{byte:02x} at column {error.start + 1} is not {encoding}; "
            "the option encoding says what it is, such as cp1252"
        ) from error


def _check(header: list[str], where: str, *, guessed: bool) -> None:
    if guessed:
        for separator, plural in _OTHER_SEPARATORS.items():
            if any(separator in column for column in header):
                raise InvalidInput(
                    f"{where}: there are {plural} in the header {header}: the option separator says what stands "
                    f"between columns: {separator!r}, or ',' if those are part of a name"
                )
    if not header or len(set(header)) < len(header) or "" in header:
        raise InvalidInput(f"{where}: a header with a different name for each column is needed: {header}")


def _with_point(value: str) -> str:
    """A number with a decimal comma as one with a point; anything else as it is."""
    if not _COMMA_NUMBER.fullmatch(value):
        return value
    return value.replace(".", "").replace(",", ".")
