"""Values in the names of folders, as Hive writes them: ``day=2026-01-02/desk=rates/``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from htcgrid_core.domain.errors import InvalidInput

_NULL = "__HIVE_DEFAULT_PARTITION__"


def values_in(inside: str) -> dict[str, str | None]:
    """Each name with its text; None for Hive's null."""
    found: dict[str, str | None] = {}
    for part in inside.split("/")[:-1]:
        name, equals, value = part.partition("=")
        if equals:
            found[unquote(name)] = None if value == _NULL else unquote(value)
    return found


def types_of(given: Mapping[str, str] | None) -> dict[str, Any]:
    """Arrow's types by their names.

    Raises:
        InvalidInput: there is no such type.
    """
    import pyarrow as arrow

    kinds = {}
    for name, alias in (given or {}).items():
        try:
            kinds[name] = arrow.type_for_alias("date32" if alias == "date" else alias)
        except ValueError as error:
            raise InvalidInput(f"partitions: {alias!r} is no type of Arrow's, such as int64, date or string") from error
    return kinds


def with_columns(batch: Any, scalars: Mapping[str, Any]) -> Any:
    """A batch with a column for each value that is the same in all its rows; those that it has stay as they are."""
    import pyarrow as arrow

    names = list(batch.schema.names)
    columns = list(batch.columns)
    fields = list(batch.schema)
    for name, scalar in scalars.items():
        if name not in names:
            columns.append(arrow.repeat(scalar, batch.num_rows))
            fields.append(arrow.field(name, scalar.type))
    return arrow.RecordBatch.from_arrays(columns, schema=arrow.schema(fields)) if len(fields) > len(names) else batch


def scalars_of(values: Mapping[str, str | None], kinds: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The values as Arrow's, texts unless a type is given.

    Raises:
        InvalidInput: a text is no value of its type.
    """
    import pyarrow as arrow

    made = {}
    for name, text in values.items():
        kind = kinds.get(name, arrow.string())
        try:
            made[name] = arrow.scalar(text, arrow.string()).cast(kind)
        except arrow.ArrowException as error:
            raise InvalidInput(f"{path}: {name}={text} is no {kind}: {error}") from error
    return made
