"""Bytes in parts that follow one another: large ones are written from where they are, and never joined on the way."""

from __future__ import annotations

from collections.abc import Sequence

Buffer = bytes | memoryview
Data = bytes | Sequence[Buffer]


def parts_of(data: Data) -> Sequence[Buffer]:
    """The parts; bytes are their only one."""
    return (data,) if isinstance(data, bytes) else data


def size_of(data: Data) -> int:
    """Bytes of all parts; a view counts in bytes only if its items are bytes."""
    return len(data) if isinstance(data, bytes) else sum(map(len, data))


def joined(data: Data) -> bytes:
    """One run of bytes; a copy, unless it is one already."""
    return data if isinstance(data, bytes) else b"".join(data)
