"""Ends of long texts: UTF-8 that was cut anywhere."""

from __future__ import annotations

from codecs import getincrementaldecoder

MAX_REST = 3  # bytes of a character after its first


def end_of(data: bytes, count: int) -> str:
    """The last ``count`` bytes as text, without the rest of a character that this cuts in two.

    Nor with the beginning of one at the end, of which the other bytes are still to come.
    """
    start = max(0, len(data) - count)
    if start:
        limit = min(start + MAX_REST, len(data))
        while start < limit and data[start] & 0xC0 == 0x80:
            start += 1
    return getincrementaldecoder("utf-8")("replace").decode(data[start:])
