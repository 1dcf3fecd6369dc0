"""Planning a commit: outcomes, retries, what stays with this agent and what goes to others, in one step."""

from __future__ import annotations

import logging
from dataclasses import replace

from htcgrid_core.agent.loop.leased_bundle import LeasedBundle, PlannedCommit
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain import metrics
from htcgrid_core.domain.bundle import Bundle, Child, child_id, child_of, split
from htcgrid_core.domain.lease import Lease, LeaseClock
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.plane import Plane
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
    for failures in sorted(set(leased.retries.values())):
        indexes = sorted(index for index, count in leased.retries.items() if count == failures)
        retried = add(indexes, now + leased.work.spec.retry.delay_seconds(failures, plane.rng))
        children[-1] = Child(replace(retried, failures=dict.fromkeys(indexes, failures)))
    continuation = None
    if kept:
        kept_lease = Lease(lease.epoch + 1, plane.token(), now + lease_seconds, lease.owner)
        continuation = Child(add(kept), kept_lease)
        children[-1] = continuation
    planned = PlannedCommit(leased.outcomes, tuple(children), continuation, planned_at, len(leased.retries))
    leased.outcomes, leased.retries = Outcomes(), {}
    if share is not None:
        leased.unstarted.clear()
    return planned


def apply(plane: Plane, leased: LeasedBundle, planned: PlannedCommit) -> SessionRecord:
    """Commit what is planned, and change nothing else: may run in any thread.

    Raises:
        LeaseLost: the bundle is no longer ours.
        GridUnavailable: unknown whether it was committed; apply the same plan again.
    """
    with leased.log_context:
        record = commit(plane, leased.work, planned.outcomes, planned.children, leased.message)
        plane.metrics.add(metrics.TASKS, planned.retried, outcome="retried")
        done, children = len(planned.outcomes), len(planned.children)
        _log.debug("committed", extra={"done": done, "retried": planned.retried, "children": children})
        return record


def become_continuation(leased: LeasedBundle, record: SessionRecord, lease_seconds: float) -> bool:
    """The planned commit of ``leased`` is written; whether it goes on, now as its continuation."""
    planned, leased.planned = leased.planned, None
    child = planned.continuation if planned is not None else None
    if planned is None or child is None or child.lease is None:
        return False
    leased.work = replace(leased.work, bundle=child.bundle, lease=child.lease, session=record)
    leased.clock = LeaseClock(planned.planned_at, lease_seconds, leased.clock.margin_seconds)
    leased.message = None
    return True
