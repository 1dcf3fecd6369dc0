"""Hints of bundles that are ready, each to the agents of the pool in which its bundle queues."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from htcgrid_core.domain.errors import UnknownGrid
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

_log = logging.getLogger(__name__)


def send(plane: Plane, pool: str, hints: Iterable[Hint]) -> None:
    """Tell agents.

    Args:
        pool: the session's.

    Raises:
        GridUnavailable: not all were accepted; sending all of them again does no harm.
    """
    for where, mine in by_pool(pool, hints).items():
        try:
            with_retries(plane, lambda where=where, mine=mine: plane.queue.send(where, mine))  # type: ignore[misc]
        except UnknownGrid as error:
            if where == pool:
                raise
            # This process may be older than the pool: the bundle is written, and whoever knows the pool tells of it.
            _log.warning(
                "a task was moved, and its pool cannot be told: %s", error, extra={"session": mine[0].session_id}
            )


def by_pool(pool: str, hints: Iterable[Hint]) -> dict[str, Sequence[Hint]]:
    """Hints of one session by the pools in which their bundles queue; ``pool`` is the session's."""
    found: dict[str, list[Hint]] = {}
    for hint in hints:
        found.setdefault(hint.pool or pool, []).append(hint)
    return dict(found)
