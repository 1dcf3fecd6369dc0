"""What Python's JSON holds that other languages' does not: NaN, infinities, lone surrogates."""

from __future__ import annotations

import json
import re

# A surrogate by itself, as "surrogatepass" writes it: bytes that valid UTF-8 never has, and JSON in strings alone.
_SURROGATE = re.compile(rb"\xed([\xa0-\xbf])([\x80-\xbf])")


def escaped(data: bytes) -> bytes:
    """The same JSON in valid UTF-8: lone surrogates as escapes, which every reader knows."""
    if b"\xed" not in data:
        return data
    return _SURROGATE.sub(_escape, data)


def _escape(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % (0xD000 | (found[1][0] & 0x3F) << 6 | found[2][0] & 0x3F)


class _Found(Exception):
    """The name of a constant."""


def constant_in(data: bytes) -> str:
    """The first of NaN, Infinity and -Infinity among the values of a JSON text; empty if there is none."""
    if b"NaN" not in data and b"Infinity" not in data:
        return ""  # nearly all: no more than two searches
    try:
        json.loads(data.decode("utf-8", "surrogatepass"), parse_constant=_stop)
    except _Found as found:
        return str(found)
    except (ValueError, RecursionError):  # whoever reads it says so
        pass
    return ""


def _stop(name: str) -> None:
    raise _Found(name)
