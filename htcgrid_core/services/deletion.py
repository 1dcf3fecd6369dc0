"""Deletion of sessions: the row first, in one write with its entry of the audit, then the blobs that were its own."""

from __future__ import annotations

import contextlib
from functools import partial

from htcgrid_core.domain.errors import AccessDenied, GridUnavailable, SessionNotFound
from htcgrid_core.domain.session import SessionRecord, blobs_of
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import Deleted, not_finished
from htcgrid_core.services.call_retries import with_retries

UNFOLDED = ("events/", "outcomes/")  # of sessions that releases without folders submitted; their agents still write so


def delete(plane: Plane, session_id: str, *, actor: str, reason: str = "") -> None:
    """Delete a session that has ended, with its events and results, before its time.

    Raises:
        SessionNotFound: there is none, or its retention time has passed.
        SessionNotFinished: it has not ended; nothing was deleted.
    """
    record = with_retries(plane, lambda: plane.store.session(session_id, plane.clock.now()))
    if not record.ended:
        raise not_finished(record)
    _delete(plane, record, actor, reason)


def delete_if_expired(plane: Plane, record: SessionRecord, *, actor: str) -> bool:
    """Delete a session whose retention has passed, so that there may be another under its id; whether it has.

    Raises:
        GridUnavailable: it has, and this process may not delete it; agents do within seconds.
    """
    if record.expires_at is None or record.expires_at > plane.clock.now():
        return False
    try:
        _delete(plane, record, actor, "its retention has passed")
    except AccessDenied as error:
        raise GridUnavailable(
            f"session {record.session_id}, which was submitted under this token before, is over its retention and not "
            "deleted yet: agents do that within seconds; submit again then"
        ) from error
    return True


def _delete(plane: Plane, record: SessionRecord, actor: str, reason: str) -> None:
    session_id, folder = record.session_id, record.folder
    delete_row = partial(plane.store.delete, session_id, folder, plane.clock.now(), actor=actor, reason=reason)
    with contextlib.suppress(SessionNotFound):  # by a call whose reply was lost, or by another who was quicker
        with_retries(plane, delete_row)
    delete_blobs(plane, Deleted(session_id, folder))


def delete_blobs(plane: Plane, gone: Deleted) -> None:
    """Delete the blobs of a session whose row is gone.

    From then on there may be another session under its id, whose blobs are in another folder. What a crash leaves here
    is swept once nobody has used it for long.
    """
    whole = blobs_of(gone.session_id, "")
    own = [blobs_of(gone.session_id, gone.folder)] if gone.folder else [whole + old for old in UNFOLDED]
    for prefix in own:
        with_retries(plane, partial(plane.blobs.delete_prefix, prefix))
