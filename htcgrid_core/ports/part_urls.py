"""URLs by which clients put parts of uploads straight into a grid's storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PartUrl:
    """What one object may be put with, and nothing else.

    Attributes:
        url: a secret while it is good.
        headers: that the request must have, as they are.
        expires_at: wall clock, seconds.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str]
    expires_at: float


class PartUrls(Protocol):
    """May be used from many threads."""

    def put(self, key: str, *, length: int, sha256: str, media: str, now: float) -> PartUrl:
        """A URL that takes a PUT of one key, one length and one checksum, for some minutes.

        Args:
            length: bytes.
            sha256: of them, as hex.
            media: their Content-Type.
            now: wall clock, seconds.
        """
