"""Cancel: one write, however large the session. Agents stop what runs, the reconciler writes the end."""

from __future__ import annotations

from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.doorbell import COMMITS, WORK
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries


def cancel(
    plane: Plane, session_id: str, *, actor: str, reason: str = "cancelled by its user", owner: str | None = None
) -> SessionRecord:
    """Ask for the session's end; one that has ended already is returned as it is.

    Args:
        owner: who must own the session at that moment; if another does, it is returned as it is. None for whoever.

    Raises:
        SessionNotFound: there is no such session.
    """
    now = plane.clock.now()
    with_retries(plane, lambda: plane.store.session(session_id, now))
    record = with_retries(
        plane,
        lambda: plane.store.advance(session_id, SessionEvent.CANCEL, now=now, actor=actor, reason=reason, owner=owner),
    )
    plane.doorbell.ring(WORK, COMMITS)
    return record
