"""Names of objects in S3, as ``s3://BUCKET/KEY``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from htcgrid_core.domain.errors import InvalidInput

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.*)", re.DOTALL)
MAX_KEY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class S3Uri:
    """An object, or a prefix of keys: one whose key is empty or ends with a slash."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> S3Uri:
        """An object or a prefix.

        Raises:
            InvalidInput: it is neither.
        """
        found = _URI.fullmatch(text)
        if not found or len(found[2].encode("utf-8", "replace")) > MAX_KEY_BYTES:
            raise InvalidInput(f"{text[:200]!r} is no object of S3: write s3://BUCKET/KEY")
        return cls(found[1], found[2])

    @property
    def is_prefix(self) -> bool:
        """Whether it stands for all objects below it."""
        return not self.key or self.key.endswith("/")

    def is_below(self, prefix: S3Uri) -> bool:
        """Whether a prefix stands for it, too."""
        return self.bucket == prefix.bucket and self.key.startswith(prefix.key)

    def overlaps(self, other: S3Uri) -> bool:
        """Whether two prefixes have objects in common."""
        return self.is_below(other) or other.is_below(self)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"
