"""Filters: which rows are events, as (column, operator, value), all of which must hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from htcgrid_core.domain.errors import InvalidInput

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in"]
_FUNCTIONS = {
    "=": "equal", "!=": "not_equal", "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal",
}  # fmt: skip
_WRITTEN = re.compile(r"\s*([^=!<>]+?)\s*(!=|<=|>=|==|=|<|>)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """One of them. A text as the value is read as the column's type: ``"2026-01-02"`` as a date.

    Rows whose column is null satisfy none.
    """

    column: str
    operator: Operator
    value: Any

    def mask(self, array: Any, name: str) -> Any:
        """Which of a column's values satisfy it.

        Raises:
            InvalidInput: the value is none of the column's type.
        """
        import pyarrow.compute as compute

        if self.operator == "in":
            import pyarrow as arrow

            values = arrow.array([self.scalar(array.type, value, name).as_py() for value in self.value], array.type)
            return compute.is_in(array, value_set=values)
        return getattr(compute, _FUNCTIONS[self.operator])(array, self.scalar(array.type, self.value, name))

    def scalar(self, kind: Any, value: Any, name: str) -> Any:
        """A value as Arrow's, of the column's type.

        Raises:
            InvalidInput: it is none.
        """
        import pyarrow as arrow

        is_text = arrow.types.is_string(kind) or arrow.types.is_large_string(kind)
        if is_text and not isinstance(value, str):
            raise InvalidInput(
                f"{name}: column {self.column!r} has texts, and {value!r} is none; say the type of a column that is in "
                f"the names of folders: partitions={{{self.column!r}: 'int64'}}"
            )
        try:
            return arrow.scalar(value).cast(kind)
        except (arrow.ArrowException, ValueError, TypeError) as error:
            raise InvalidInput(f"{name}: {value!r} cannot be compared with column {self.column!r}: {error}") from error


def conditions_of(where: Iterable[Sequence[Any] | str]) -> tuple[Condition, ...]:
    """Conditions as they are given: ``("day", ">=", "2026-01-02")``, or as text, ``day>=2026-01-02``.

    Raises:
        InvalidInput: one of them is none.
    """
    if isinstance(where, str):
        where = [where]
    return tuple(_condition(one) for one in where)


def _condition(given: Any) -> Condition:
    if isinstance(given, str):
        found = _WRITTEN.fullmatch(given)
        if found is None:
            raise InvalidInput(f"{given!r} is no condition: write column=value, or with !=, <, <=, > or >=")
        written: Any = found[2]
        return Condition(found[1], "=" if written == "==" else written, found[3])
    if not isinstance(given, Sequence) or len(given) != 3 or not isinstance(given[0], str):
        raise InvalidInput(f"{given!r} is no condition: (column, operator, value)")
    column, value = given[0], given[2]
    operator: Any = "=" if given[1] == "==" else given[1]
    if operator not in get_args(Operator):
        raise InvalidInput(f"{operator!r} is no operator of a condition: {', '.join(get_args(Operator))}")
    if operator == "in" and (isinstance(value, str) or not isinstance(value, Iterable)):
        raise InvalidInput(f"the condition on {column!r}: 'in' takes a list")
    return Condition(column, operator, tuple(value) if operator == "in" else value)


def kept(batch: Any, conditions: Sequence[Condition], name: str) -> Any:
    """The rows of a batch that satisfy all conditions.

    Raises:
        InvalidInput: a condition's column is not there, or of another type than its value.
    """
    for condition in conditions:
        at = batch.schema.get_field_index(condition.column)
        if at < 0:
            raise InvalidInput(f"{name}: there is no column {condition.column!r} to filter by")
        batch = batch.filter(condition.mask(batch.column(at), name))
    return batch
