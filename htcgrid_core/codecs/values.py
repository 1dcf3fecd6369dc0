"""Values to bytes and back: JSON, and pickle for Python callables.

JSON is Python's dialect, as in Lambda's Python runtime: tuples become lists, integers have any size, NaN and
infinities are written as such, an enum is its value. orjson does the common case several times faster; what it would
change or refuse goes through the standard library, and what only orjson knows is refused, so that no value is taken or
not by what stands beside it. Pickled bytes are only ever loaded after their signature verified (codecs.signing).
"""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

from htcgrid_core.codecs import mapped
from htcgrid_core.codecs.buffers import Buffer, Data, joined, parts_of
from htcgrid_core.codecs.shared import SharedInput

# JSON that begins with a space may hold what only the standard library reads exactly: integers over 64 bits.
EXACT = b" "
LONG_TEXT_CHARACTERS = 1 << 20
FEW_VALUES = 64
LARGE_BUFFER_BYTES = 1 << 17  # that are not copied into their pickle; a pickler writes smaller ones with what is around
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME  # there is none for UUIDs
_UUID_HYPHENS = 4
_find_uuid = re.compile(rb"-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-").search
PLAIN = frozenset((str, int, float, bool, type(None)))


def _default(value: Any) -> Any:
    if isinstance(value, SharedInput):
        return value.to_json()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, orjson.Fragment):  # JSON already
        return decode_json(orjson.dumps(value))
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is not JSON")


_exact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_default)


def encode_json(value: Any) -> bytes:
    """Encode as JSON.

    Raises:
        TypeError, ValueError, RecursionError: not JSON.
    """
    if value is None:
        return b"null"
    try:
        data = orjson.dumps(value, _default, _OPTIONS)
    except TypeError:  # large integers, keys that are no strings, lone surrogates; or it is not JSON at all
        data = b""
    if not data or data.find(b"null") >= 0:  # orjson writes NaN as null
        return encode_json_frugally(value)
    if data.count(b"-") >= _UUID_HYPHENS and _holds_uuid(value, data):  # orjson writes UUIDs as text
        return encode_json_frugally(value)
    return b"%b" % data  # a copy: orjson's own bytes keep kilobytes allocated behind them


def encode_json_frugally(value: Any) -> bytes:
    """Encode as JSON in little memory: orjson reserves eight bytes a character, and crashes where it cannot have them.

    Raises:
        TypeError, ValueError, RecursionError, MemoryError: not JSON, or too large.
    """
    return EXACT + _exact.encode(value).encode("utf-8", "surrogatepass")


def _holds_uuid(value: Any, data: bytes) -> bool:
    """Whether what orjson took holds a UUID, rather than texts that look like one, or dates."""
    if type(value) is dict:  # most events: quicker than to search their text
        for item in value.values():
            if type(item) not in PLAIN:
                break
        else:
            return False
    return _find_uuid(data) is not None and _is_or_holds_uuid(value)


def _is_or_holds_uuid(value: Any) -> bool:
    kind = type(value)
    if kind in PLAIN:
        return False
    if isinstance(value, dict):
        return any(map(_is_or_holds_uuid, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_is_or_holds_uuid, value))
    return _is_or_holds_uuid(value.value) if isinstance(value, Enum) else kind is UUID


def has_long_text(value: Any, depth: int = 2) -> bool:
    """Whether a value is a long text, or holds one among few others."""
    if type(value) is str:
        return len(value) > LONG_TEXT_CHARACTERS
    if depth and type(value) in (dict, list, tuple) and len(value) <= FEW_VALUES:
        inside = value.values() if type(value) is dict else value
        return any(has_long_text(item, depth - 1) for item in inside)
    return False


def decode_json(data: Buffer) -> Any:
    """Decode JSON.

    Raises:
        ValueError: it is not JSON.
    """
    if type(data) is memoryview:
        data = bytes(data)
    if not data.startswith(EXACT):
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:  # NaN, infinities, lone surrogates; or it is not JSON at all
            pass
    return json.loads(data.decode("utf-8", "surrogatepass"))


PICKLE_BEGIN = b"\x80\x05"  # what encode_pickle writes begins with, and cloudpickle's callables


def encode_pickle(value: Any) -> bytes:
    """Pickle; what the receiver could not import goes by value.

    That is ``__main__``, lambdas, local classes, and modules given to ``cloudpickle.register_pickle_by_value``.

    Raises:
        Exception: whatever the object's own pickling raises.
    """
    return joined(pickle_parts(value))


def pickle_parts(value: Any) -> Data:
    """As ``encode_pickle``; the large buffers of NumPy arrays and the like are views of where they are.

    So they are to be written before anybody may change them.
    """
    try:
        data: Data = pickle.dumps(value, protocol=5, buffer_callback=_refuse_large)
    except _LargeBuffer:
        data = _in_parts(value)
    except Exception:  # noqa: BLE001 - lambdas, local classes: AttributeError, PicklingError, TypeError by Python version
        data = b""
    if data and not any(map(_may_go_by_value, parts_of(data))):
        return data
    from htcgrid_core.codecs.by_value import pickle_by_value  # 15 ms, and most payloads do not need it

    return pickle_by_value(value)


class _LargeBuffer(Exception):
    """A value holds one."""


def _refuse_large(buffer: pickle.PickleBuffer) -> bool:
    """Smaller ones go into the pickle as they come."""
    if buffer.raw().nbytes >= LARGE_BUFFER_BYTES:
        raise _LargeBuffer
    return True


class _Parts:
    """What a pickler writes to: it hands over large buffers as they are."""

    def __init__(self) -> None:
        self.parts: list[Buffer] = []

    def write(self, data: Any) -> None:
        """One more part; other large objects than buffers may be gone once they are pickled."""
        self.parts.append(data.raw() if isinstance(data, pickle.PickleBuffer) else bytes(data))


def _in_parts(value: Any) -> Data:
    """Pickle without a copy of large buffers: byte by byte what ``pickle.dumps`` makes."""
    file = _Parts()
    try:
        pickle.Pickler(file, protocol=5).dump(value)
    except Exception:  # noqa: BLE001 - as in pickle_parts
        return b""
    return file.parts


def _may_go_by_value(part: Buffer) -> bool:
    """Whether a part may name something that the receiver could not import; a buffer names nothing."""
    return isinstance(part, bytes) and (b"__main__" in part or _names_what_goes_by_value(part))


def _names_what_goes_by_value(data: bytes) -> bool:
    """Whether a pickle may name something of a module that its user wants sent by value."""
    # Whoever has registered one has loaded it. Another thread may be about to, and has registered none then.
    names: Iterable[str] = getattr(sys.modules.get("cloudpickle"), "list_registry_pickle_by_value", tuple)()
    return any(name.encode() in data for name in names)


def decode_pickle(data: Buffer) -> Any:
    """Load a pickle that was verified. What lies in pages of its own, and may be written to, is used where it is.

    Raises:
        Exception: whatever loading it raises.
    """
    if isinstance(data, memoryview) and not data.readonly:
        return mapped.load(data)
    return pickle.loads(data)  # noqa: S301


ENCODERS: dict[str, Callable[[Any], bytes]] = {"json": encode_json, "pickle": encode_pickle}
DECODERS: dict[str, Callable[[Buffer], Any]] = {"json": decode_json, "pickle": decode_pickle}
