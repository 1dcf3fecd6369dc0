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
    """

    data: bytes | None
    key: str | None
    size: int

    @classmethod
    def inline(cls, data: bytes) -> Payload:
        """A payload that travels in the row."""
        return cls(data, None, len(data))

    @classmethod
    def blob(cls, key: str, size: int) -> Payload:
        """A payload stored under ``key``."""
        return cls(None, key, size)
