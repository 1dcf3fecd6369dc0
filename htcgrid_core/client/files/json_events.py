"""Events as JSON: a value on each line, or one array."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput

MAX_ARRAY_BYTES = 1 << 30  # an array is read whole, and takes some ten times as much memory


def json_lines(stream: BinaryIO, name: str) -> Iterator[Any]:
    """The value on each line that is not empty."""
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
            colons = line.count(b":")  # more than names: some in texts, or a name twice
            if colons and (type(event) is not dict or colons > len(event)) and colons > _names_in(event):
                event = json.loads(line.decode(), object_pairs_hook=object_of)
        except (ValueError, RecursionError) as error:
            hint = ""
            if number == 1 and line.lstrip().startswith(b"["):
                hint = "; a file with one array in it must be named .json"
            raise InvalidInput(f"{name}, line {number}: not a JSON value ({_why(error)}){hint}") from error
        yield event


def json_array(stream: BinaryIO, name: str) -> list[Any]:
    """The values of one array."""
    text = stream.read(MAX_ARRAY_BYTES + 1)
    if len(text) > MAX_ARRAY_BYTES:
        raise InvalidInput(f"{name}: over {MAX_ARRAY_BYTES:,} bytes; a file with a value on each line is streamed")
    try:
        events = json.loads(text.decode("utf-8-sig"), object_pairs_hook=object_of)
    except (ValueError, RecursionError) as error:
        where = f"{name}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else name
        hint = "a file with a value on each line is .jsonl"
        raise InvalidInput(f"{where}: not JSON ({_why(error)}); {hint}") from error
    if not isinstance(events, list):
        raise InvalidInput(f"{name}: a {type(events).__name__}, not an array of events")
    return events


def _names_in(value: Any) -> int:
    """How many names all objects in a value have, each of which has a colon behind it."""
    if isinstance(value, dict):
        return len(value) + sum(_names_in(item) for item in value.values() if isinstance(item, dict | list))
    if isinstance(value, list):
        return sum(map(_names_in, value))
    return 0


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, none of whose values is lost to another of the same name.

    Raises:
        ValueError: one of them would be.
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"an object has {max(names, key=names.count)!r} twice")
    return made


def _why(error: Exception) -> str:
    """What a JSON decoder objects to, but for the line, which we know better."""
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
