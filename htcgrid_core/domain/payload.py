"""Where packed bytes are: in the row, or in the blob store under a key of ours. Never a client's URL or path."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Payload:
    """Packed bytes, inline or by key (exactly one of the two).

    Attributes:
        data: the bytes, if they travel in the row.
        key: the blob's key otherwise.
        size: length in bytes.
        at: where it begins in a blob that it shares with others; None if the blob is its own.
    """

    data: bytes | None
    key: str | None
    size: int
    at: int | None = None

    @classmethod
    def inline(cls, data: bytes) -> Payload:
        """A payload that travels in the row."""
        return cls(data, None, len(data))

    @classmethod
    def blob(cls, key: str, size: int, at: int | None = None) -> Payload:
        """A payload stored under ``key``."""
        return cls(None, key, size, at)
