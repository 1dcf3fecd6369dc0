"""Finalize: one conditional write ends a session whose counters, threshold or deadline say that it is over."""

from __future__ import annotations

import logging

from htcgrid_core.domain import metrics
from htcgrid_core.domain.costs import cost_of
from htcgrid_core.domain.errors import IllegalTransition
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.domain.session_end import verdict
from htcgrid_core.ports.doorbell import COMMITS, WORK
from htcgrid_core.ports.metrics import NO_METRICS, Example
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.costs import known_prices

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
    announce(plane, ended)
    return ended


def _count(plane: Plane, ended: SessionRecord) -> None:
    plane.metrics.add(metrics.SESSIONS_ENDED, state=ended.state)
    if plane.metrics is not NO_METRICS and not ended.damage:
        cost = cost_of(ended.spent, known_prices(plane))
        for part in metrics.COST_DOLLARS.labels["part"]:
            plane.metrics.add(metrics.COST_DOLLARS, getattr(cost, part), part=part)
    if ended.ended_at is not None:
        seconds = max(0.0, ended.ended_at - ended.submitted_at)
        example = Example(seconds, {"session": ended.session_id})
        plane.metrics.observe(metrics.SESSION_SECONDS, (seconds,), example=example)


def announce(plane: Plane, ended: SessionRecord) -> None:
    """Say that a session has ended, in the log and to whoever waits on this machine, once its end is written."""
    told = {"session": ended.session_id, "state": ended.state}
    _log.info("session %s is %s", ended.session_id, ended.state, extra=told)
    _count(plane, ended)
    plane.traces.ended(ended)
    plane.doorbell.ring(COMMITS)
    if ended.counters.cancelled:
        plane.doorbell.ring(WORK)  # agents that still run its tasks stop them at once
