"""Commit: outcomes, counters and children in one atomic step, then messages, then the session's end if it is that."""

from __future__ import annotations

from collections.abc import Sequence

from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain import metrics
from htcgrid_core.domain.bundle import Bundle, Child
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.bundle_queue import Hint, Message
from htcgrid_core.ports.doorbell import COMMITS, WORK
from htcgrid_core.ports.metrics import NO_METRICS, Example
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import Commit
from htcgrid_core.services import hints, payloads
from htcgrid_core.services.call_retries import delete_message, with_retries
from htcgrid_core.services.claim import Work
from htcgrid_core.services.finalize import announce, finalize

SECONDS_DIGITS = 6  # that are counted: a store may keep few digits of a sum


def commit(
    plane: Plane,
    work: Work,
    outcomes: Outcomes,
    children: Sequence[Child],
    message: Message | None,
    *,
    attempts: bytes | None = None,
) -> SessionRecord:
    """Write what was done with a leased bundle; return the session's row as it then is.

    Args:
        attempts: what tasks among the children said when they failed.

    Raises:
        LeaseLost: the bundle is no longer ours; nothing was written.
    """
    bundle, lease, spec = work.bundle, work.lease, work.spec
    payload = None
    if outcomes:
        # The key holds epoch and token, so that a zombie never overwrites the winner's outcomes.
        key = f"{work.session.blobs}outcomes/{bundle.bundle_id}/{lease.epoch}-{lease.token}"
        page = codec.parts(outcomes, aligned=True)
        payload = payloads.store(plane, bundle.session_id, spec, payloads.OUTCOMES, page, key)
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
        retrying=_more_retrying(bundle, outcomes, children),
        attempts=attempts,
    )
    record = with_retries(plane, lambda: plane.store.commit(write))
    _count(plane, work, outcomes, write)
    ready = [
        Hint(
            child.bundle.session_id, child.bundle.bundle_id, child.bundle.not_before, spec.priority,
            pool=child.bundle.pool, tasks=len(child.bundle.indexes),
        )
        for child in children
        if child.lease is None
    ]  # fmt: skip
    if ready:
        hints.send(plane, spec.pool, ready)
        plane.doorbell.ring(WORK)
    if message is not None:
        delete_message(plane, message)
    if record.ended:  # by the commit's own write, as stores may end it
        announce(plane, record)
        return record
    ended = finalize(plane, record)
    plane.doorbell.ring(COMMITS)
    return ended


def _more_retrying(bundle: Bundle, outcomes: Outcomes, children: Sequence[Child]) -> int:
    """By how many a commit changes the number of tasks that have failed and not ended."""
    before = bundle.failures
    begun = sum(index not in before for child in children for index in child.bundle.failures)
    return begun - (sum(index in before for index in outcomes.indexes) if before else 0)


def _count(plane: Plane, work: Work, outcomes: Outcomes, write: Commit) -> None:
    plane.metrics.add(metrics.COMMITS)
    plane.metrics.add(metrics.TASKS, write.completed, outcome="completed")
    plane.metrics.add(metrics.TASKS, write.failed, outcome="failed")
    if outcomes and plane.metrics is not NO_METRICS:
        plane.metrics.observe(metrics.TASK_SECONDS, outcomes.seconds, example=_slowest(work, outcomes))


def _slowest(work: Work, outcomes: Outcomes) -> Example:
    """The task that took longest, under the names that the log has for it."""
    at, session_id = max(range(len(outcomes)), key=outcomes.seconds.__getitem__), work.bundle.session_id
    of = {"session": session_id, "task": str(outcomes.indexes[at]), "attempt": str(outcomes.attempts[at])}
    return Example(outcomes.seconds[at], {**of, "trace_id": work.spec.trace(session_id).trace_id})
