"""Arrow's values as Python's, or as JSON's; none of them changed."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

# What pyarrow, datetime and time zones raise of a value: dates past 9999, bytes that are no UTF-8, nanoseconds without
# pandas, a zone that nobody knows.
VALUE_ERRORS = (ValueError, ArithmeticError, LookupError)
_PARTS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_SECONDS = 86_400
_RANGE = "{} is outside of the years 1 to 9999"


def python_values(array: Any) -> list[Any]:
    """What ``to_pylist`` gives, where it does not change the value.

    Raises:
        VALUE_ERRORS: one of them has no such value.
    """
    _check_times(array)
    return list(array.to_pylist())


def json_values(array: Any, decimals: str) -> list[Any]:
    """What JSON has for each value.

    Raises:
        VALUE_ERRORS: one of them has no such value.
    """
    import pyarrow.types as types

    kind = array.type
    if hasattr(kind, "storage_type"):
        if kind.extension_name == "arrow.uuid":
            return [None if value is None else str(value) for value in array.to_pylist()]
        return json_values(array.storage, decimals)
    if types.is_dictionary(kind):
        return json_values(array.dictionary_decode(), decimals)
    if types.is_struct(kind):
        return _structs(array, decimals)
    if types.is_map(kind):
        return _maps(array, decimals)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists(array, decimals)
    convert = _converter(kind, decimals)
    if convert is None:
        return list(array.to_pylist())
    return [None if value is None else convert(value) for value in _raw(array).to_pylist()]


def _structs(array: Any, decimals: str) -> list[Any]:
    names = [array.type.field(at).name for at in range(array.type.num_fields)]
    columns = [json_values(column, decimals) for column in array.flatten()]
    rows: Any = zip(*columns, strict=True) if columns else [()] * len(array)
    valid = array.is_valid().to_pylist()
    return [dict(zip(names, row, strict=True)) if there else None for there, row in zip(valid, rows, strict=True)]


def _lists(array: Any, decimals: str) -> list[Any]:
    import pyarrow.compute as compute

    values = iter(json_values(array.flatten(), decimals))
    lengths = compute.list_value_length(array).to_pylist()
    valid = array.is_valid().to_pylist()
    return [[next(values) for _ in range(n)] if there else None for there, n in zip(valid, lengths, strict=True)]


def _maps(array: Any, decimals: str) -> list[Any]:
    """Lists of pairs: keys may stand twice, and need be no texts."""
    keys, items, offsets = _entries(array)
    pairs = [list(pair) for pair in zip(json_values(keys, decimals), json_values(items, decimals), strict=True)]
    valid = array.is_valid().to_pylist()
    return [pairs[a:b] if there else None for there, (a, b) in zip(valid, pairwise(offsets), strict=True)]


def _entries(array: Any) -> tuple[Any, Any, list[int]]:
    """The keys and items of an array of maps, or of its part that was sliced out, and where each map begins."""
    offsets = array.offsets.to_pylist()
    begin, length = offsets[0], offsets[-1] - offsets[0]
    return array.keys.slice(begin, length), array.items.slice(begin, length), [at - begin for at in offsets]


def _raw(array: Any) -> Any:
    """Dates and times as the integers that they are stored as."""
    import pyarrow as arrow

    kind = array.type
    if not arrow.types.is_temporal(kind):
        return array
    return array.view(arrow.int32() if kind.bit_width == 32 else arrow.int64())


def _converter(kind: Any, decimals: str) -> Callable[[Any], Any] | None:
    """What makes JSON of a stored value; None if it is JSON already."""
    import pyarrow.types as types

    if types.is_date32(kind):
        return _day
    if types.is_date64(kind):
        return lambda milliseconds: _day(milliseconds // (_DAY_SECONDS * 1000))
    if types.is_timestamp(kind):
        return functools.partial(_moment, parts=_PARTS[kind.unit], zone=kind.tz is not None)
    if types.is_time(kind):
        return functools.partial(_time, parts=_PARTS[kind.unit])
    if types.is_duration(kind):
        return functools.partial(_duration, parts=_PARTS[kind.unit])
    if types.is_decimal(kind):
        return _decimal_text if decimals == "text" else _decimal_number
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return lambda data: base64.b64encode(data).decode()
    return None


def _day(days: int) -> str:
    try:
        return date.fromordinal(_EPOCH_DAY + days).isoformat()
    except (ValueError, OverflowError) as error:
        raise ValueError(_RANGE.format(f"the day {days:+,} of 1970")) from error


def _moment(value: int, parts: int, zone: bool) -> str:
    seconds, fraction = divmod(value, parts)
    try:
        whole = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError as error:
        raise ValueError(_RANGE.format(f"the second {seconds:+,} of 1970")) from error
    return f"{whole}{_digits(fraction, parts)}{'+00:00' if zone else ''}"


def _time(value: int, parts: int) -> str:
    _check_time(value, parts)
    seconds, fraction = divmod(value, parts)
    return (_EPOCH + timedelta(seconds=seconds)).time().isoformat() + _digits(fraction, parts)


def _duration(value: int, parts: int) -> str:
    seconds, fraction = divmod(abs(value), parts)
    return f"{'-' if value < 0 else ''}PT{seconds}{_digits(fraction, parts)}S"


def _digits(fraction: int, parts: int) -> str:
    """A fraction of a second as datetime writes it, with nine digits if it takes nanoseconds."""
    if not fraction:
        return ""
    nanoseconds = fraction * (10**9 // parts)
    return f".{nanoseconds:09d}" if nanoseconds % 1000 else f".{nanoseconds // 1000:06d}"


def _decimal_text(value: Decimal) -> str:
    return format(value, "f")


def _decimal_number(value: Decimal) -> int | float:
    if value == value.to_integral_value():
        return int(value)
    number = float(value)
    if Decimal(repr(number)) != value:
        raise ValueError(f"{value} has more digits than a number keeps: say decimals='text'")
    return number


def _check_times(array: Any) -> None:
    """Refuse times of day that to_pylist would make others of: 24:00, negative ones, single nanoseconds."""
    for part in _times_in(array):
        parts = _PARTS[part.type.unit]
        for value in _raw(part).to_pylist():
            if value is not None:
                _check_time(value, parts)
                if parts == _PARTS["ns"] and value % 1000:
                    raise ValueError(f"a time of day with the nanosecond {value % 1000}, which Python's have not")


def _check_time(value: int, parts: int) -> None:
    if not 0 <= value < _DAY_SECONDS * parts:
        raise ValueError(f"the time of day {value / parts / 3600:+g} h is not within 0 to 24 h")


def _times_in(array: Any) -> Iterator[Any]:
    """The columns of times of day in a column."""
    import pyarrow.types as types

    kind = array.type
    if types.is_time(kind):
        yield array
    elif types.is_map(kind):
        for part in _entries(array)[:2]:
            yield from _times_in(part)
    elif types.is_nested(kind):
        parts = array.flatten()
        for part in parts if isinstance(parts, list) else [parts]:
            yield from _times_in(part)
