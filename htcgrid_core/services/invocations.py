"""Invocations: which session, and which of its tasks, runs a call that its caller may send again, to any server.

Calls that come together share a session, so its id cannot tell. Whoever takes a call claims it before anything runs it;
who takes it again learns where it was placed.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

INVOCATIONS = "invocations/"
CLAIMED_SECONDS = 2 * 3600.0  # for so long a call that comes again is found to be the same


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call runs: the task ``index`` of a session."""

    session_id: str
    index: int = 0


def claim(plane: Plane, request_id: str, place: Place) -> Place:
    """Place a call, and return where it is: there, or where whoever came first has placed it."""
    body = orjson.dumps([place.session_id, place.index])
    stored = with_retries(plane, lambda: plane.blobs.claim(_key(request_id), body))
    return place if stored == body else Place(*orjson.loads(stored))


def sweep(plane: Plane) -> list[str]:
    """Forget calls that are long over; the keys of their claims."""
    before = plane.clock.now() - CLAIMED_SECONDS
    return plane.blobs.delete_unused(INVOCATIONS, before, lambda _: False)


def _key(request_id: str) -> str:
    return f"{INVOCATIONS}{request_id[:2]}/{request_id}"
