"""Sessions of which something stored cannot be read: each ends alone, and says why, whoever meets it first.

Those that a newer release wrote for its own agents are not among them: they are left to it.
"""

from __future__ import annotations

import logging
from functools import partial

from htcgrid_core.domain.errors import CorruptPayload, IllegalTransition, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.ports.doorbell import COMMITS, WORK
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

_log = logging.getLogger(__name__)


def end_unreadable(plane: Plane, session_id: str, error: CorruptPayload, actor: str) -> bool:
    """End a session FAILED, or abort its submission; whether it has ended now."""
    reason = f"{type(error).__name__}: {error}"
    fields = {"session": session_id, "error": type(error).__name__}
    _log.error("a session cannot be read, and ends: %s", error, extra=fields)

    def end(event: SessionEvent) -> bool:
        now = plane.clock.now()
        advance = partial(plane.store.advance, session_id, event, now=now, actor=actor, reason=reason)
        return with_retries(plane, advance).ended

    try:
        ended = end(_event(plane, session_id))
    except (IllegalTransition, SessionNotFound):  # it went on since it was read
        return False
    except CorruptPayload as second:
        _log.error("it cannot be ended either: %s", second, extra=fields)
        return False
    plane.doorbell.ring(COMMITS)
    plane.doorbell.ring(WORK)
    return ended


def _event(plane: Plane, session_id: str) -> SessionEvent:
    """What ends it, by the state that it is in."""
    found = plane.store.progress([session_id], plane.clock.now())
    if found and found[0].state is SessionState.SUBMITTED:
        return SessionEvent.ABORT
    return SessionEvent.FAIL
