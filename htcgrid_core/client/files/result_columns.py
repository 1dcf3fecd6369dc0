"""Which columns hold all results without changing any: the types of JSON values, widened as they come."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from htcgrid_core.domain.errors import NotTabular

MAX_COLUMNS = 10_000  # results whose keys are data, such as trade ids, are no table
MAX_DEPTH = 32
_EXACT_IN_FLOATS = 2**53
_DECIMAL_DIGITS = 76
_INT64 = range(-(2**63), 2**63)
_DECIMAL = range(1 - 10**38, 10**38)
_KINDS = {
    bool: "a truth value", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object",
    datetime: "a time", date: "a date", time: "a time of day", timedelta: "a duration", Decimal: "a decimal",
    UUID: "an id",
}  # fmt: skip
_ZONED = "a time with a zone"


class Columns:
    """The columns of all results seen so far."""

    def __init__(self) -> None:
        self.top: dict[str, Column] = {}
        self.count = 0

    def see(self, row: dict[str, Any], index: int) -> None:
        """Take in the row of a result.

        Raises:
            NotTabular: no column can hold one of its values and those before.
        """
        _see_fields(self, self.top, row, index, "", 1)

    def schema(self) -> list[tuple[str, Any]]:
        """Each column's name with its Arrow type.

        Raises:
            NotTabular: Parquet has no type for one of them.
        """
        return [(name, column.type()) for name, column in self.top.items()]


class Column:
    """What the values of one column have been."""

    __slots__ = (
        "columns",
        "depth",
        "fields",
        "floats",
        "ints",
        "items",
        "kind",
        "known",
        "large",
        "name",
        "scale",
        "whole",
    )

    def __init__(self, columns: Columns, name: str, depth: int, index: int) -> None:
        columns.count += 1
        if columns.count > MAX_COLUMNS:
            raise NotTabular(f"task {index} makes them over {MAX_COLUMNS:,} columns")
        if depth > MAX_DEPTH:
            raise NotTabular(f"the result of task {index} is nested over {MAX_DEPTH} deep")
        self.columns = columns
        self.name = name
        self.depth = depth
        self.kind: str | None = None  # None while there are only nulls
        self.known: set[type] = {type(None)}  # of which another one changes nothing, unless it is a large integer
        self.ints = self.floats = False
        self.large = 0  # the integer that is furthest from zero
        self.scale = self.whole = 0  # the most digits of decimals after and before the point
        self.items: Column | None = None
        self.fields: dict[str, Column] = {}

    def see(self, value: Any, index: int) -> None:
        """Take in a value."""
        kind = type(value)
        if kind in self.known and (kind is not int or -_EXACT_IN_FLOATS <= value <= _EXACT_IN_FLOATS):
            return
        self._be(_ZONED if kind is datetime and value.tzinfo is not None else _KINDS[kind], index)
        if kind is Decimal:
            self._see_decimal(value, index)
        elif kind is int:
            self.ints = True
            if abs(value) > abs(self.large):
                self.large = value
            self._check_numbers(index)
        elif kind is float:
            self.floats = True
            self._check_numbers(index)
        elif kind is list:
            if self.items is None:
                self.items = Column(self.columns, f"{self.name}[]", self.depth + 1, index)
            for item in value:
                self.items.see(item, index)
        elif kind is dict:
            _see_fields(self.columns, self.fields, value, index, f"{self.name}.", self.depth + 1)
        if kind not in (list, dict, datetime, Decimal):
            self.known.add(kind)

    def _see_decimal(self, value: Decimal, index: int) -> None:
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int):
            raise NotTabular(f"{self.name!r} is {value} in task {index}, which Parquet's decimals have not")
        self.scale = max(self.scale, -exponent)
        self.whole = max(self.whole, value.adjusted() + 1)
        if self.scale + self.whole > _DECIMAL_DIGITS:
            raise NotTabular(f"{self.name!r} has decimals of over {_DECIMAL_DIGITS} digits up to task {index}")

    def _be(self, kind: str, index: int) -> None:
        if self.kind is None:
            self.kind = kind
        elif self.kind != kind:
            raise NotTabular(f"{self.name!r} is {self.kind} in some, and {kind} in task {index}")

    def _check_numbers(self, index: int) -> None:
        if self.ints and self.floats and abs(self.large) > _EXACT_IN_FLOATS:
            raise NotTabular(f"{self.name!r} has the integer {self.large} and fractions, up to task {index}")
        if self.large not in _DECIMAL:
            raise NotTabular(f"{self.name!r} has an integer of over 38 digits in task {index}")

    def type(self) -> Any:
        """Its Arrow type; of nothing but nulls, text."""
        import pyarrow as arrow

        if self.kind == "a truth value":
            return arrow.bool_()
        if self.kind == "a number":
            return arrow.float64() if self.floats else self._integer(arrow)
        if self.kind == "a decimal":
            digits = max(1, self.whole + self.scale)
            return (arrow.decimal128 if digits <= 38 else arrow.decimal256)(digits, self.scale)
        if simple := self._of_time(arrow):
            return simple
        if self.items is not None:
            return arrow.list_(self.items.type())
        if self.kind == "an object":
            if not self.fields:
                raise NotTabular(f"{self.name!r} is an empty object in all, which Parquet has not")
            return arrow.struct([(name, field.type()) for name, field in self.fields.items()])
        return arrow.string()

    def _of_time(self, arrow: Any) -> Any:
        times = {
            "a time": arrow.timestamp("us"), _ZONED: arrow.timestamp("us", tz="UTC"), "a date": arrow.date32(),
            "a time of day": arrow.time64("us"), "a duration": arrow.duration("us"),
        }  # fmt: skip
        return times.get(self.kind or "")

    def _integer(self, arrow: Any) -> Any:
        return arrow.int64() if self.large in _INT64 else arrow.decimal128(38, 0)


def _see_fields(
    columns: Columns, fields: dict[str, Column], values: dict[str, Any], index: int, before: str, depth: int
) -> None:
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            field = fields[name] = Column(columns, f"{before}{name}", depth, index)
        field.see(value, index)


def row_of(plain: Any, index: int) -> dict[str, Any]:
    """A result's columns, but for those that every row has.

    Raises:
        NotTabular: it has one of those itself, with another value.
    """
    if not isinstance(plain, dict):
        return {"result": plain}
    if "task_index" not in plain and "task_error" not in plain:
        return plain
    for name, ours in (("task_index", index), ("task_error", None)):
        if name in plain and (type(plain[name]) is not type(ours) or plain[name] != ours):
            raise NotTabular(f"the result of task {index} has its own {name!r}, the name of a column that all have")
    return {name: value for name, value in plain.items() if name not in ("task_index", "task_error")}
