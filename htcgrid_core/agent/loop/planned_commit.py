"""Planning a commit: outcomes, retries, what stays with this agent and what goes to others, in one step."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from dataclasses import replace

from htcgrid_core.agent.loop.leased_bundle import LeasedBundle, PlannedCommit
from htcgrid_core.codecs.failed_attempts import FailedAttempts
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain import metrics
from htcgrid_core.domain.bundle import Bundle, Child, child_id, child_of, split
from htcgrid_core.domain.errors import GRID_FAILURES
from htcgrid_core.domain.lease import Lease, LeaseClock
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.traces import Leased, LeaseTimes
from htcgrid_core.services.commit import commit
from htcgrid_core.services.fair_share import stride

_log = logging.getLogger(__name__)


def plan(
    plane: Plane, leased: LeasedBundle, *, share: int | None, lease_seconds: float, delay_seconds: float
) -> PlannedCommit:
    """Take out of ``leased`` what a commit writes now; what it keeps is what runs, and what is not shared.

    Args:
        share: tasks of one child for other agents; None to keep the unstarted tasks.
        delay_seconds: before which nobody should claim those children.
    """
    bundle, lease = leased.work.bundle, leased.work.lease
    now, planned_at = plane.clock.now(), plane.clock.monotonic()
    children: list[Child] = []

    def add(indexes: list[int], not_before: float = 0.0) -> Bundle:
        child = child_of(bundle, child_id(bundle, lease.epoch, len(children)), indexes, not_before=not_before)
        children.append(Child(child))
        return child

    kept = sorted(leased.running)
    if share is None:
        kept = sorted([*kept, *leased.unstarted])
    else:
        step = stride(plane, leased.work.spec) if leased.unstarted else 0.0
        for number, piece in enumerate(split(sorted(leased.unstarted), share), 1):
            shared = add(list(piece), now + delay_seconds if delay_seconds else 0.0)
            # The session had its share: what is left of the bundle goes behind what others have ready.
            children[-1] = Child(replace(shared, rank=bundle.rank + number * step))
    attempts = leased.failed.packed()
    retry, alike = leased.work.spec.retry, [(count, index in leased.moved) for index, count in leased.retries.items()]
    for failures, is_moved in sorted(set(alike)):
        indexes = sorted(i for i, of in zip(leased.retries, alike, strict=True) if of == (failures, is_moved))
        # More memory helps at once; what else made an attempt fail may take time to pass.
        retried = add(indexes, 0.0 if is_moved else now + retry.delay_seconds(failures, plane.rng))
        failed_in = bundle.bundle_id if attempts else ""
        again = replace(retried, failures=dict.fromkeys(indexes, failures), failed_in=failed_in)
        children[-1] = Child(_moved(plane, again, retry.on_out_of_memory or "") if is_moved else again)
    continuation = None
    if kept:
        kept_lease = Lease(lease.epoch + 1, plane.token(), now + lease_seconds, lease.owner)
        continuation = Child(add(kept), kept_lease)
        children[-1] = continuation
    planned = PlannedCommit(
        leased.outcomes, tuple(children), continuation, planned_at, leased.retried, attempts,
        tuple(leased.first_failures), now,
    )  # fmt: skip
    leased.outcomes, leased.retries, leased.failed, leased.moved = Outcomes(), {}, FailedAttempts(), set()
    leased.first_failures, leased.retried = [], Counter()
    if share is not None:
        leased.unstarted.clear()
    return planned


def _moved(plane: Plane, bundle: Bundle, pool: str) -> Bundle:
    """A bundle as one of another pool, which has a line of its own: it comes after what is being served there."""
    with contextlib.suppress(*GRID_FAILURES):  # a rank only says whose turn it is
        return replace(bundle, pool=pool, rank=plane.queue.front(pool))
    return replace(bundle, pool=pool)


def apply(plane: Plane, leased: LeasedBundle, planned: PlannedCommit) -> SessionRecord:
    """Commit what is planned, and change nothing else: may run in any thread.

    Raises:
        LeaseLost: the bundle is no longer ours.
        GridUnavailable: unknown whether it was committed; apply the same plan again.
    """
    with leased.log_context:
        record = commit(
            plane, leased.work, planned.outcomes, planned.children, leased.message, attempts=planned.attempts
        )
        retried = sum(planned.retried.values())
        plane.metrics.add(metrics.TASKS, retried, outcome="retried")
        for kind, tasks in planned.retried.items():
            plane.metrics.add(metrics.RETRIES, tasks, kind=kind)
        plane.traces.leased(told(leased, planned, plane.clock.now()))
        done, children = len(planned.outcomes), len(planned.children)
        _log.debug("committed", extra={"done": done, "retried": retried, "children": children})
        return record


def told(leased: LeasedBundle, planned: PlannedCommit, now: float, lost: str = "") -> Leased:
    """What was done under a lease, for traces.

    Args:
        lost: why it was not committed.
    """
    work = leased.work
    return Leased(
        bundle=work.bundle,
        lease=work.lease,
        spec=work.spec,
        times=leased.times,
        outcomes=planned.outcomes,
        attempts=planned.failures,
        retried=sum(planned.retried.values()),
        traced_every=leased.function.traced_every or 0,
        commit_at=planned.began_at,
        ended_at=now,
        lost=lost,
    )


def become_continuation(leased: LeasedBundle, record: SessionRecord, lease_seconds: float) -> bool:
    """The planned commit of ``leased`` is written; whether it goes on, now as its continuation."""
    planned, leased.planned = leased.planned, None
    child = planned.continuation if planned is not None else None
    if planned is None or child is None or child.lease is None:
        return False
    leased.work = replace(leased.work, bundle=child.bundle, lease=child.lease, session=record)
    leased.clock = LeaseClock(planned.planned_at, lease_seconds, leased.clock.margin_seconds)
    leased.times = LeaseTimes(planned.began_at, planned.began_at)
    leased.message = None
    return True
