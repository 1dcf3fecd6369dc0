"""Legal holds: what nothing deletes until it is released, with the sessions whose tasks it ran again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from htcgrid_core.domain.errors import InvalidInput, SessionNotFound
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import check_holdable
from htcgrid_core.services.call_retries import with_retries


def hold(plane: Plane, session_id: str, *, actor: str, reason: str) -> SessionRecord:
    """Keep a session that has ended, whatever its retention says; return once all of it is kept.

    Its results are partly those of the sessions whose failed tasks it ran again, and so these are held before it, for
    the same reason. What of them is gone already cannot be.

    Raises:
        InvalidInput: there is no reason, or the session was never submitted whole.
        SessionNotFound: there is none, or its retention time has passed.
        SessionNotFinished: it has not ended.
    """
    if not reason.strip():
        raise InvalidInput(f"session {session_id} was not held: say why, for whoever finds it")
    record = with_retries(plane, lambda: plane.store.session(session_id, plane.clock.now()))
    check_holdable(record)
    for earlier in reversed(list(_ancestors(plane, record))):
        one = partial(plane.store.hold, earlier.session_id, plane.clock.now(), actor=actor, reason=reason)
        with_retries(plane, one)
    return with_retries(plane, lambda: plane.store.hold(session_id, plane.clock.now(), actor=actor, reason=reason))


def release(plane: Plane, session_id: str, *, actor: str, reason: str = "") -> SessionRecord:
    """Let the retention of a session go on as if it had never been held; if that has passed, it is gone with this.

    Those whose failed tasks it ran again stay held.

    Raises:
        SessionNotFound: there is none, or its retention time has passed.
    """
    with_retries(plane, lambda: plane.store.session(session_id, plane.clock.now()))
    return with_retries(plane, lambda: plane.store.release(session_id, plane.clock.now(), actor=actor, reason=reason))


def _ancestors(plane: Plane, record: SessionRecord) -> Iterator[SessionRecord]:
    """The sessions whose failed tasks it ran again, from the last to the first."""
    while not record.damage and (parent := record.parsed_spec().parent_id):
        try:
            record = with_retries(plane, partial(plane.store.session, parent, plane.clock.now()))
        except SessionNotFound:
            return
        yield record
