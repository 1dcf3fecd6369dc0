"""Commit: outcomes, counters and children in one atomic step, then messages, then the session's end if it is that."""

from __future__ import annotations

from collections.abc import Sequence

from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain import metrics
from htcgrid_core.domain.bundle import Child
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.bundle_queue import Hint, Message
from htcgrid_core.ports.doorbell import COMMITS, WORK
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import Commit
from htcgrid_core.services import payloads
from htcgrid_core.services.call_retries import delete_message, with_retries
from htcgrid_core.services.claim import Work
from htcgrid_core.services.finalize import finalize

SECONDS_DIGITS = 6  # that are counted: a store may keep few digits of a sum


def commit(
    plane: Plane, work: Work, outcomes: Outcomes, children: Sequence[Child], message: Message | None
) -> SessionRecord:
    """Write what was done with a leased bundle; return the session's row as it then is.

    Raises:
        LeaseLost: the bundle is no longer ours; nothing was written.
    """
    bundle, lease, spec = work.bundle, work.lease, work.spec
    payload = None
    if outcomes:
        # The key holds epoch and token, so that a zombie never overwrites the winner's outcomes.
        key = f"sessions/{bundle.session_id}/outcomes/{bundle.bundle_id}/{lease.epoch}-{lease.token}"
        payload = payloads.store(plane, bundle.session_id, spec, payloads.OUTCOMES, codec.pack(outcomes), key)
    failed = outcomes.failures
    write = Commit(
        session_id=bundle.session_id,
        bundle_id=bundle.bundle_id,
        token=lease.token,
        now=plane.clock.now(),
        outcomes=payload,
        completed=len(outcomes) - failed,
        failed=failed,
        children=tuple(children),
        task_seconds=round(sum(outcomes.seconds), SECONDS_DIGITS),
    )
    record = with_retries(plane, lambda: plane.store.commit(write))
    _count(plane, outcomes, write)
    ready = [
        Hint(child.bundle.session_id, child.bundle.bundle_id, child.bundle.not_before, spec.priority)
        for child in children
        if child.lease is None
    ]
    if ready:
        with_retries(plane, lambda: plane.queue.send(spec.pool, ready))
        plane.doorbell.ring(WORK)
    if message is not None:
        delete_message(plane, message)
    ended = finalize(plane, record)
    plane.doorbell.ring(COMMITS)
    return ended


def _count(plane: Plane, outcomes: Outcomes, write: Commit) -> None:
    plane.metrics.add(metrics.COMMITS)
    plane.metrics.add(metrics.TASKS, write.completed, outcome="completed")
    plane.metrics.add(metrics.TASKS, write.failed, outcome="failed")
    plane.metrics.observe(metrics.TASK_SECONDS, outcomes.seconds)
