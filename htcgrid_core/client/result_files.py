"""Results into files and JSON: JSON Lines and Parquet, in index order and in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from typing import Any, BinaryIO, Literal, get_args

from htcgrid_core.client.files.plain_values import TAG, tagged, text_of, untagged
from htcgrid_core.client.files.result_table import write_table
from htcgrid_core.domain.errors import InvalidInput, TaskFailed

ResultFormat = Literal["jsonl", "parquet"]


def result_format_of(name: str) -> ResultFormat:
    """The format that a file's name tells.

    Raises:
        InvalidInput: it is neither .jsonl nor .parquet.
    """
    for kind in get_args(ResultFormat):
        if name.lower().endswith(f".{kind}"):
            return kind  # type: ignore[no-any-return] # get_args forgets what it was given
    raise InvalidInput(f"{name!r}: results are written to a .jsonl or a .parquet file")


def write_results(results: Iterable[Any], stream: BinaryIO, kind: ResultFormat) -> int:
    """Write results and return how many there were.

    Args:
        results: of ``session.results(errors="return")``: a task that failed has a line or row too. As JSON Lines it
            is ``{"error": {"index", "type", "message"}}``. In Parquet each key of results that are dicts is a column,
            any other result is column ``result``; ``task_error`` is null where there is a result. A column has the
            type of all its values: integers beside fractions become floats where that is exact, integers of over 64
            bits decimals.

    Raises:
        NotTabular: no column holds all values of a key without changing one; the stream is of no use then.
        InvalidInput: a result is not JSON; or pyarrow is missing.
    """
    return _write_lines(results, stream) if kind == "jsonl" else write_table(results, stream, as_typed_json)


def results_as_json(results: Iterable[Any], max_bytes: int, *, typed: bool = False) -> list[Any]:
    """Results as JSON values; None in the place of a task that failed.

    Args:
        typed: keep dates, times, durations, decimals and UUIDs as they are, instead of their texts.

    Raises:
        InvalidInput: together they take more than ``max_bytes`` as JSON, or one of them is not JSON.
    """
    values: list[Any] = []
    left = max_bytes
    encode, hook = (as_typed_json, untagged) if typed else (as_json, None)
    for index, result in enumerate(results):
        line = b"null" if isinstance(result, TaskFailed) else encode(result, index)
        left -= len(line) + 1
        if left < 0:
            raise InvalidInput(f"the results take more than {max_bytes:,} bytes as JSON: write them to a file")
        values.append(json.loads(line, object_pairs_hook=hook if _TAG in line else None))
    return values


def as_json(result: Any, index: int) -> bytes:
    """A result, or a failed task in its place, as a line of JSON without its end.

    Raises:
        InvalidInput: it is not JSON.
    """
    return _as_json(result, index, _encode)


def as_typed_json(result: Any, index: int) -> bytes:
    """The same, with dates, times, durations, decimals and UUIDs tagged, so that ``untagged`` gives them back.

    Raises:
        InvalidInput: it is not JSON otherwise.
    """
    return _as_json(result, index, _encode_typed)


def _as_json(result: Any, index: int, encode: Callable[[Any], str]) -> bytes:
    value = {"error": error_of(result)} if isinstance(result, TaskFailed) else result
    try:
        return encode(value).encode("utf-8", "backslashreplace")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the result of task {index} is not JSON ({error}): let the function return JSON") from error


def error_of(failure: TaskFailed) -> dict[str, Any]:
    """Which task failed, and why."""
    return {"index": failure.index, "type": failure.error.type, "message": failure.error.message}


def _plain(value: Any, other: Callable[[Any], Any] = text_of) -> Any:
    """NumPy's scalars and arrays as Python's numbers and lists, but for times, whose numbers have no unit; enums.

    Args:
        other: makes JSON of what is none of these.
    """
    if hasattr(value, "tolist") and not _has_times(getattr(value, "dtype", None)):
        return value.tolist()
    if isinstance(value, Enum):
        return value.value
    return other(value)


_encode = json.JSONEncoder(default=_plain, ensure_ascii=False).encode  # json.dumps would make one for each result
_encode_typed = json.JSONEncoder(default=partial(_plain, other=tagged), ensure_ascii=False).encode
_TAG = json.dumps(TAG).encode()


def _has_times(dtype: Any) -> bool:
    """Whether NumPy's datetime64 or timedelta64 are in it, also as a field."""
    fields = getattr(dtype, "fields", None) or {}
    return getattr(dtype, "kind", "") in ("m", "M") or any(_has_times(field[0]) for field in fields.values())


def _write_lines(results: Iterable[Any], stream: BinaryIO) -> int:
    count = 0
    for result in results:
        stream.write(as_json(result, count) + b"\n")
        count += 1
    return count
