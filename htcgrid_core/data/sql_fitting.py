"""Columns that a table of PostgreSQL has already: which values they would change, as COPY does silently."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from htcgrid_core.client.result_sink import INDEX, SESSION, ResultRows
from htcgrid_core.domain.errors import InvalidInput

Fits = Callable[[Any], bool]  # whether a column holds a value unchanged
_NUMERIC = re.compile(r"numeric(?:\(\d+,(-?\d+)\))?")
_EXACT_IN_FLOATS = 2**53


def checks_of(rows: ResultRows, there: dict[str, str], name: str) -> dict[str, Fits]:
    """What is to be asked of each value, for the columns that do not hold all of their results' type.

    Args:
        there: the table's columns with their types, as PostgreSQL's ``format_type`` writes them.

    Raises:
        InvalidInput: a column is of a type that has none of these values.
    """
    checks = {}
    for field in rows.schema():
        if field.name in (SESSION, INDEX) or rows.is_empty(field.name):
            continue
        fits = _fits(field.type, there[field.name])
        if fits is None:
            raise InvalidInput(
                f"{name}: column {field.name!r} is {there[field.name]}, and {field.type} in the results, "
                "which would be changed"
            )
        if fits is not _always:
            checks[field.name] = fits
    return checks


def _always(value: Any) -> bool:
    return True


def _fits(own: Any, there: str) -> Fits | None:
    """What tells whether a value of Arrow's type fits; None if none does. Other types are PostgreSQL's affair."""
    import pyarrow.types as types

    number = _NUMERIC.fullmatch(there)
    digits = _within(int(number[1])) if number and number[1] else _always
    if types.is_string(own):
        return _digits_of_text(digits) if number else _TEXTS.get(there, None if there in _KNOWN else _always)
    if there in ("json", "jsonb") and (types.is_nested(own) or types.is_integer(own) or types.is_floating(own)):
        return _always
    if types.is_integer(own):
        return _always if number or there in _INTEGERS else _FLOATS.get(there, _unknown(there))
    if types.is_floating(own):
        if there == "double precision":
            return _always
        return digits if number else _FLOATS.get(there, _unknown(there))
    if types.is_decimal(own):
        return digits if number else _unknown(there)
    for is_kind, named in (
        (types.is_boolean, "boolean"),
        (types.is_date, "date"),
        (types.is_time, "time without time zone"),
        (types.is_duration, "interval"),
    ):
        if is_kind(own):
            return _always if there == named else _unknown(there)
    if types.is_timestamp(own):
        return _always if there == f"timestamp with{'' if own.tz else 'out'} time zone" else _unknown(there)
    return _unknown(there)


def _unknown(there: str) -> Fits | None:
    is_known = (
        there in (*_KNOWN, "text", "uuid")
        or _NUMERIC.fullmatch(there)
        or there.startswith(("timestamp", "time", "character"))
    )
    return None if is_known else _always


def _within(scale: int) -> Fits:
    """Whether a number has no more digits than these after its point."""

    def fits(value: Any) -> bool:
        _, digits, exponent = Decimal(str(value)).as_tuple()
        if not isinstance(exponent, int):
            return True  # NaN; infinity is refused there
        surplus = -exponent - scale
        return surplus <= 0 or not any(digits[-surplus:])

    return fits


def _digits_of_text(digits: Fits) -> Fits:
    """Whether a text is a decimal whose digits fit."""

    def fits(value: Any) -> bool:
        try:
            return Decimal(value).is_finite() and digits(value)
        except InvalidOperation:
            return False

    return fits


def _is_exact(value: Any) -> bool:
    return isinstance(value, float) or -_EXACT_IN_FLOATS <= value <= _EXACT_IN_FLOATS


def _is_exact_in_four_bytes(value: Any) -> bool:
    try:
        return bool(value != value or struct.unpack("f", struct.pack("f", value))[0] == value)
    except OverflowError:
        return False


def _is_date(value: Any) -> bool:
    return _parsed(date.fromisoformat, value) is not None and len(value) == len("2026-01-02")


def _is_zoned(value: Any) -> bool:
    found = _parsed(datetime.fromisoformat, value)
    return found is not None and found.tzinfo is not None


def _is_without_zone(value: Any) -> bool:
    found = _parsed(datetime.fromisoformat, value)
    return found is not None and found.tzinfo is None


def _parsed(parse: Callable[[str], Any], value: str) -> Any:
    try:
        return parse(value)
    except ValueError:
        return None


_INTEGERS = ("smallint", "integer", "bigint")  # whose bounds PostgreSQL checks
_FLOATS: dict[str, Fits | None] = {"double precision": _is_exact, "real": _is_exact_in_four_bytes}
# Texts are what a handler that is named has for dates, times and decimals.
_TEXTS: dict[str, Fits | None] = {
    "date": _is_date,
    "timestamp with time zone": _is_zoned,
    "timestamp without time zone": _is_without_zone,
}
_KNOWN = frozenset((*_INTEGERS, *_FLOATS, *_TEXTS, "boolean", "interval", "json", "jsonb", "bytea", "money"))
