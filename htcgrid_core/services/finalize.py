"""Finalize: one conditional write ends a session whose counters, threshold or deadline say that it is over."""

from __future__ import annotations

import logging

from htcgrid_core.domain.errors import IllegalTransition
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.domain.session_end import verdict
from htcgrid_core.ports.doorbell import COMMITS, WORK
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

_log = logging.getLogger(__name__)


def finalize(plane: Plane, record: SessionRecord, actor: str = "grid") -> SessionRecord:
    """End the session if it is over; return its row as it then is."""
    now = plane.clock.now()
    over = verdict(record, now)
    if over is None:
        return record
    try:
        ended = with_retries(
            plane,
            lambda: plane.store.advance(record.session_id, over.event, now=now, actor=actor, reason=over.reason),
        )
    except IllegalTransition:
        return plane.store.session(record.session_id, now)  # cancelled meanwhile: the cancel stands
    _log.info(
        "session %s is %s", record.session_id, ended.state, extra={"session": record.session_id, "state": ended.state}
    )
    plane.doorbell.ring(COMMITS)
    if ended.counters.cancelled:
        plane.doorbell.ring(WORK)  # agents that still run its tasks stop them at once
    return ended
