"""Results into files and JSON: JSON Lines and Parquet, in index order and in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, BinaryIO, Literal, get_args

from htcgrid_core.domain.errors import InvalidInput, TaskFailed

ResultFormat = Literal["jsonl", "parquet"]
PARQUET_ROWS = 10_000  # rows held at once


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
            any other result is column ``result``; ``task_error`` is null where there is a result.

    Raises:
        InvalidInput: a result is not JSON, or does not have the columns of those before; or pyarrow is missing.
    """
    return _write_lines(results, stream) if kind == "jsonl" else _write_table(results, stream)


def results_as_json(results: Iterable[Any], max_bytes: int) -> list[Any]:
    """Results as JSON values; None in the place of a task that failed.

    Raises:
        InvalidInput: together they take more than ``max_bytes`` as JSON, or one of them is not JSON.
    """
    values: list[Any] = []
    left = max_bytes
    for index, result in enumerate(results):
        line = b"null" if isinstance(result, TaskFailed) else as_json(result, index)
        left -= len(line) + 1
        if left < 0:
            raise InvalidInput(f"the results take more than {max_bytes:,} bytes as JSON: write them to a file")
        values.append(json.loads(line))
    return values


def as_json(result: Any, index: int) -> bytes:
    """A result, or a failed task in its place, as a line of JSON without its end.

    Raises:
        InvalidInput: it is not JSON.
    """
    value = {"error": error_of(result)} if isinstance(result, TaskFailed) else result
    try:
        return json.dumps(value, default=_plain, ensure_ascii=False).encode("utf-8", "backslashreplace")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the result of task {index} is not JSON ({error}): let the function return JSON") from error


def error_of(failure: TaskFailed) -> dict[str, Any]:
    """Which task failed, and why."""
    return {"index": failure.index, "type": failure.error.type, "message": failure.error.message}


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays as Python's numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__qualname__}")


def _write_lines(results: Iterable[Any], stream: BinaryIO) -> int:
    count = 0
    for result in results:
        stream.write(as_json(result, count) + b"\n")
        count += 1
    return count


def _write_table(results: Iterable[Any], stream: BinaryIO) -> int:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise InvalidInput("writing Parquet needs pyarrow (`pip install pyarrow`)") from error
    chunks = _chunks(_rows(results), PARQUET_ROWS)
    first = next(chunks, [])
    schema = _schema(arrow, first)
    count = 0
    with parquet.ParquetWriter(stream, schema) as writer:
        for chunk in chain([first] if first else [], chunks):
            try:
                writer.write_table(arrow.Table.from_pylist(_known(chunk, schema.names, count), schema=schema))
            except (arrow.ArrowException, TypeError, ValueError) as error:
                raise InvalidInput(
                    f"the results from task {count} on do not fit the columns of those before ({error}); "
                    "write them to a .jsonl file"
                ) from error
            count += len(chunk)
    return count


def _schema(arrow: Any, rows: list[dict[str, Any]]) -> Any:
    """Of the first rows; a column without a value in them holds texts."""
    names = dict.fromkeys(chain(("task_index",), chain.from_iterable(rows), ("task_error",)))
    try:
        found = arrow.Table.from_pylist([{**names, **row} for row in rows] or [names])
    except (arrow.ArrowException, TypeError, ValueError) as error:
        raise InvalidInput(f"the results do not fit columns ({error}); write them to a .jsonl file") from error
    fixed = {"task_index": arrow.int64(), "task_error": arrow.string()}
    kinds = {field.name: arrow.string() if arrow.types.is_null(field.type) else field.type for field in found.schema}
    return arrow.schema(list({**kinds, **fixed}.items()))


def _rows(results: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for index, result in enumerate(results):
        if isinstance(result, TaskFailed):
            yield {"task_index": index, "task_error": f"{result.error.type}: {result.error.message}"}
            continue
        plain = json.loads(as_json(result, index))
        columns = plain if isinstance(plain, dict) else {"result": plain}
        yield {**columns, "task_index": index, "task_error": None}


def _known(rows: list[dict[str, Any]], names: list[str], first: int) -> list[dict[str, Any]]:
    """The rows, none of which may have a column that is not in the file: it would be lost without a word."""
    for at, row in enumerate(rows):
        if new := row.keys() - set(names):
            raise ValueError(f"task {first + at} has {', '.join(sorted(new))} too")
    return rows


def _chunks(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk
