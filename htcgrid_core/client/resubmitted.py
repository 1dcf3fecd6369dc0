"""The tasks of a session that runs again what its parent did not complete: their indexes in the first session."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.gateway.protocol import Gateway


def first_indexes(gateway: Gateway, parent_id: str | None, indexes: Sequence[int]) -> list[int]:
    """Where tasks stand in the vector that was submitted first; the same if it was never resubmitted, or has expired.

    Reads the parent's outcomes up to the last of them.

    Args:
        parent_id: of the session whose indexes these are.
    """
    if parent_id is None or not indexes:
        return list(indexes)
    try:
        parent = gateway.session(parent_id)
        # Of a parent that is a child itself, these are the first one's already.
        gaps = (at for at, outcome in gateway.outcomes(parent) if outcome is None or outcome.failed)
        found = list(islice(gaps, max(indexes) + 1))
    except SessionNotFound:
        return list(indexes)
    return [found[index] for index in indexes]
