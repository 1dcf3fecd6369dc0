"""Cancel: one write, however large the session. Agents stop what runs, and who hands back the last of it ends it."""

from __future__ import annotations

import logging

from htcgrid_core.domain.errors import GridError, IllegalTransition
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.doorbell import COMMITS, WORK
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import WHOLE_BUNDLES
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.finalize import announce

_log = logging.getLogger(__name__)


def cancel(
    plane: Plane, session_id: str, *, actor: str, reason: str = "cancelled by its user", owner: str | None = None
) -> SessionRecord:
    """Ask for the session's end; one that has ended already is returned as it is.

    What is returned is the row as the cancel left it: a small session that nobody works on has ended a moment later.

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
    if record.state is SessionState.CANCELLING and 0 <= record.bundles <= WHOLE_BUNDLES:
        try:
            end_if_free(plane, record, actor)
        except GridError as error:  # the cancel is written, and stands
            _log.warning(
                "session %s is cancelled, and is ended by its agents or the reconciler: %s",
                session_id, error, extra={"session": session_id},
            )  # fmt: skip
    return record


def end_if_free(plane: Plane, record: SessionRecord, actor: str) -> SessionRecord:
    """CANCELLED once no agent can still be running tasks of a session that is CANCELLING; its row as it then is.

    Whoever commits asks this after its commit: of those that hand back at the same time, the last finds it free.
    """
    if with_retries(plane, lambda: plane.store.has_live_lease(record.session_id, plane.clock.now())):
        return record
    session_id, now = record.session_id, plane.clock.now()
    try:
        ended = with_retries(
            plane,
            lambda: plane.store.advance(session_id, SessionEvent.DRAIN, now=now, actor=actor, reason=record.reason),
        )
    except IllegalTransition:
        return with_retries(plane, lambda: plane.store.session(session_id, now))  # another was quicker
    announce(plane, ended)
    return ended
