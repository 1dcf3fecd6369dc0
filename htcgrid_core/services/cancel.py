"""Cancel: one write, however large the session. Agents stop what runs, the reconciler writes the end."""

from __future__ import annotations

from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.doorbell import COMMITS, WORK
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.persist import persist


def cancel(plane: Plane, session_id: str, *, actor: str, reason: str = "cancelled by its user") -> SessionRecord:
    """Ask for the session's end; one that has ended already is returned as it is.

    Raises:
        SessionNotFound: there is no such session.
    """
    now = plane.clock.now()
    plane.store.session(session_id, now)
    record = persist(
        plane,
        lambda: plane.store.advance(session_id, SessionEvent.CANCEL, now=now, actor=actor, reason=reason),
    )
    plane.doorbell.ring(WORK, COMMITS)
    return record
