"""Results as Lambda's Python runtime encodes them, for handlers that are deployed.

Decimals keep their digits, bytes inside of a result are text, what has ``_asdict()`` (named tuples) is an object, enums
are values only where they are numbers or texts themselves, and bytes that are the whole result are JSON already. What
plain JSON is made of takes the quick way of ``codecs.values``. Tests ask AWS's client whether it does the same.
"""

from __future__ import annotations

import json
import marshal
import math
from collections.abc import Callable
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

import orjson

from htcgrid_core.codecs.values import EXACT, PLAIN, decode_json

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_ESCAPED = "backslashreplace"  # surrogates, as JSON writes them: two that are a pair are one character
_FLAT_FORMAT = 2  # marshal's last one that looks at each value by itself
_all_plain = PLAIN.issuperset
_plain = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def encode_result(value: Any) -> bytes:
    """Encode what a handler has returned.

    Raises:
        TypeError, ValueError, RecursionError: Lambda would not take it.
    """
    if value is None:
        return b"null"
    if isinstance(value, bytes):
        return _json_already(value)
    try:
        data = orjson.dumps(value, None, _OPTIONS)
    except TypeError:
        return encode_result_frugally(value)
    if data.find(b"null") >= 0:  # orjson writes NaN so
        return encode_result_frugally(value)
    # Most results are flat. Of others, orjson takes enums and UUIDs for their values.
    if not (type(value) is dict and _all_plain(map(type, value.values()))) and not _is_plain(value):
        return encode_result_frugally(value)
    return b"%b" % data  # a copy: orjson's own bytes keep kilobytes allocated behind them


def encode_result_frugally(value: Any) -> bytes:
    """The same in little memory, without orjson.

    Raises:
        TypeError, ValueError, RecursionError, MemoryError: Lambda would not take it, or it is too large.
    """
    if isinstance(value, bytes):
        return _json_already(value)
    if _is_plain(value):
        try:
            return EXACT + _plain.encode(value).encode("utf-8", _ESCAPED)
        except TypeError:  # marshal knows bytes and sets, too
            pass
    parts: list[str] = []
    _write(value, parts.append)
    return EXACT + "".join(parts).encode("utf-8", _ESCAPED)


def _is_plain(value: Any) -> bool:
    """Whether all of a value is of Python's own types, rather than of classes made of them: marshal takes no other."""
    try:
        marshal.dumps(value, _FLAT_FORMAT)
    except ValueError:
        return False
    return True


def _json_already(data: bytes) -> bytes:
    data = EXACT + data.strip()
    try:
        decode_json(data)
    except ValueError as error:
        raise ValueError(f"bytes are taken for JSON, and these are not: {error}") from error
    return data


def _write(value: Any, write: Callable[[str], None]) -> None:
    """Write in the order of simplejson's questions, which AWS's client asks."""
    if isinstance(value, str):
        write(encode_basestring(value))
    elif isinstance(value, bytes):
        write(encode_basestring(str(value, "utf-8")))
    elif value is None or isinstance(value, bool | int | float):
        write(_scalar(value))
    elif (fields := _as_dictionary(value)) is not None:
        _write_object(fields, write)
    elif isinstance(value, list | tuple):
        write("[")
        for number, item in enumerate(value):
            write("," if number else "")
            _write(item, write)
        write("]")
    elif isinstance(value, dict):
        _write_object(value, write)
    elif isinstance(value, Decimal):
        write("NaN" if value.is_nan() else str(value))
    else:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _write_object(fields: dict[Any, Any], write: Callable[[str], None]) -> None:
    write("{")
    for number, (key, item) in enumerate(fields.items()):
        write("," if number else "")
        write(f"{encode_basestring(_name(key))}:")
        _write(item, write)
    write("}")


def _as_dictionary(value: Any) -> dict[Any, Any] | None:
    method = getattr(value, "_asdict", None)
    if not callable(method):
        return None
    try:
        fields = method()
    except TypeError:  # it is another method of that name
        return None
    if not isinstance(fields, dict):
        raise TypeError(f"_asdict() must return a dict, not {type(fields).__name__}")
    return fields


def _name(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return str(key, "utf-8")
    if key is None or isinstance(key, bool | int | float):
        return _scalar(key)
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")


def _scalar(value: bool | float | None) -> str:
    """A number or name, whatever a class made of it says of itself."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if math.isfinite(value):
        return float.__repr__(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
