"""Ids of sessions that name their region: ``s-…`` of eu-west-1 is ``s-…-eu-west-1``."""

from __future__ import annotations

import re
from collections.abc import Collection

_NAMED = re.compile(r"((?:.+\.)?[st]-[0-9a-f]{24})-(.+)")


def in_region(session_id: str, region: str) -> str:
    """The id that a session has in a region."""
    return f"{session_id}-{region}"


def region_of(session_id: str, regions: Collection[str]) -> str | None:
    """The region that an id names: one of these, or, as an id of ours tells, another one; None if it names none."""
    for region in regions:
        if session_id.endswith(f"-{region}"):
            return region
    named = _NAMED.fullmatch(session_id)
    return named[2] if named else None
