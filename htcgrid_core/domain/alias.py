"""Aliases: names for versions of a function, which move while those who submit say the same name."""

from __future__ import annotations

import hashlib
import re

from pydantic import Field, model_validator

from htcgrid_core.domain.stored import Stored

ALIAS_NAME = re.compile(r"[0-9]{0,31}[A-Za-z_-][A-Za-z0-9_-]{0,31}")  # no version's number


class Alias(Stored):
    """An alias of one function.

    Attributes:
        version: that sessions run.
        other_version, other_weight: the version that a share of sessions runs instead, and that share (0 to 1); as
            AWS Lambda shifts traffic to a new version.
        removed: whether it is there no more.
    """

    name: str = Field(pattern=f"^{ALIAS_NAME.pattern}$")
    version: int = Field(ge=1)
    other_version: int | None = Field(default=None, ge=1)
    other_weight: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    description: str = Field(default="", max_length=256)
    removed: bool = False

    @model_validator(mode="after")
    def _both_or_none(self) -> Alias:
        if (self.other_version is None) != (self.other_weight == 0.0):
            raise ValueError("another version comes with a weight above 0, and a weight with another version")
        if self.other_version == self.version:
            raise ValueError("the other version is another one")
        return self

    def version_for(self, session_id: str) -> int:
        """The version that a session runs: the same however often it is asked for."""
        if self.other_version is None:
            return self.version
        drawn = int.from_bytes(hashlib.blake2b(session_id.encode(), digest_size=7).digest()) / (1 << 56)
        return self.other_version if drawn < self.other_weight else self.version
