"""Reconcile: every tick, over live sessions only, finish what crashes and lost messages left undone. Idempotent."""

from __future__ import annotations

import contextlib
import itertools
import logging
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.agent_version import is_for_newer_agents
from htcgrid_core.domain.costs import cost_of
from htcgrid_core.domain.demand import demand_of
from htcgrid_core.domain.errors import CorruptPayload, IllegalTransition, UnknownGrid
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.doorbell import COMMITS, WORK
from htcgrid_core.ports.metrics import NO_METRICS
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import AgentRecord
from htcgrid_core.services import hints, uploads
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.cancel import end_if_free
from htcgrid_core.services.costs import known_prices
from htcgrid_core.services.deletion import delete_blobs
from htcgrid_core.services.finalize import finalize
from htcgrid_core.services.measure import busy_slots
from htcgrid_core.services.unreadable import end_unreadable

_log = logging.getLogger(__name__)

RESEND_LIMIT = 100  # hints a session and tick; what is still missing comes with the next tick
EXPIRE_LIMIT = 20
LOST_SECONDS = 10 * limits.LEASE_SECONDS  # since an agent was last heard of, for which it counts as lost
FRESH_SECONDS = 3 * limits.RECONCILE_TICK_SECONDS  # for which a tick's view of the grid is shown


@dataclass
class Reconciled:
    """What one tick did."""

    live: int = 0
    newer: list[str] = field(default_factory=list)  # live sessions that are for agents of a newer release
    uncut: list[str] = field(default_factory=list)  # uploads that are sealed, and nobody seems to make bundles of
    aborted: int = 0
    ended: int = 0
    resent: int = 0
    expired: int = 0


def reconcile(plane: Plane, tick_seconds: float, *, thorough: bool = False) -> Reconciled:
    """One tick.

    Args:
        tick_seconds: between ticks; a session without a commit for that long has its ready bundles re-sent, less and
            less often.
        thorough: re-send all of them.
    """
    done = Reconciled()
    live = with_retries(plane, plane.store.live_sessions)
    _show(plane, live)
    for record in live:
        done.live += 1
        try:
            _look_after(plane, record, float("inf") if thorough else tick_seconds, tick_seconds, done)
        except CorruptPayload as error:
            done.ended += end_unreadable(plane, record.session_id, error, "reconciler")
    for gone in with_retries(plane, lambda: plane.store.expire(plane.clock.now(), EXPIRE_LIMIT)):
        delete_blobs(plane, gone)
        done.expired += 1
    if done.ended or done.aborted or done.resent or done.expired:
        _log.info("reconciled", extra=asdict(done))
    plane.metrics.add(metrics.RECONCILER_TICKS)
    for what in metrics.RECONCILED.labels["what"]:
        plane.metrics.add(metrics.RECONCILED, getattr(done, what), what=what)
    return done


def _look_after(
    plane: Plane, record: SessionRecord, resend_seconds: float, tick_seconds: float, done: Reconciled
) -> None:
    """Do for one session what is to be done."""
    if record.damage:
        raise CorruptPayload(record.damage)
    if is_newer := is_for_newer_agents(record.spec):
        done.newer.append(record.session_id)
    match record.state:
        case SessionState.SUBMITTED:
            if not uploads.is_sealed(plane, record.session_id):
                done.aborted += _abort_if_stalled(plane, record)
            elif not is_newer and _is_uncut(plane, record, 0.0 if resend_seconds == float("inf") else tick_seconds):
                done.uncut.append(record.session_id)
        case SessionState.CANCELLING:
            done.ended += _drain_if_free(plane, record)
        case _:
            if finalize(plane, record, actor="reconciler").ended:
                done.ended += 1
            elif not is_newer and plane.clock.now() - record.updated_at >= tick_seconds:
                done.resent += _resend(plane, record, resend_seconds)


def _show(plane: Plane, live: Sequence[SessionRecord]) -> None:
    """The grid as a whole, until others have looked: ticks are shared out among agents at random."""
    if plane.metrics is NO_METRICS:
        return
    show, now = partial(plane.metrics.show, seconds=FRESH_SECONDS), plane.clock.now()
    counts = Counter((record.state, _age(now - record.submitted_at)) for record in live)
    for state, age in itertools.product(*metrics.SESSIONS_LIVE.labels.values()):
        show(metrics.SESSIONS_LIVE, float(counts[SessionState(state), age]), state=state, age=age)
    for state in metrics.OLDEST_SESSION_SECONDS.labels["state"]:
        oldest = max((now - record.submitted_at for record in live if record.state == state), default=0.0)
        show(metrics.OLDEST_SESSION_SECONDS, oldest, state=state)
    prices = known_prices(plane)
    costs = (cost_of(record.spent, prices).total for record in live if not record.damage)
    show(metrics.LIVE_COST_DOLLARS, sum(costs, 0.0))
    # It takes one read more, so only where somebody may look. Records of agents that vanished are kept for a while.
    told = with_retries(plane, lambda: plane.store.agents(now - LOST_SECONDS + limits.LEASE_SECONDS))
    agents = [agent for agent in told if agent.beat_at > now - limits.LEASE_SECONDS]
    lost = Counter(agent.pool for agent in told if agent.beat_at <= now - limits.LEASE_SECONDS)
    for pool in {agent.pool for agent in told}:
        show(metrics.AGENTS_LOST, float(lost[pool]), pool=pool)
    _show_demand(plane, live, agents)


def _show_demand(plane: Plane, live: Sequence[SessionRecord], agents: Sequence[AgentRecord]) -> None:
    """The backlog, and what a scaler looks at."""
    pending: Counter[tuple[str, str]] = Counter()
    for record in live:
        pending[record.pool, record.priority] += record.counters.pending
    demands = demand_of(live, busy_slots(agents))
    for demand in demands:
        show = partial(plane.metrics.show, seconds=FRESH_SECONDS, pool=demand.pool, priority=demand.priority)
        show(metrics.SLOTS_WANTED, float(demand.slots_wanted))
        show(metrics.WORK_SECONDS, demand.work_seconds)
    for pool, priority in {(demand.pool, demand.priority) for demand in demands} | set(pending):
        tasks = float(pending[pool, priority])
        plane.metrics.show(metrics.TASKS_PENDING, tasks, FRESH_SECONDS, pool=pool, priority=priority)


def _age(seconds: float) -> str:
    """How old a session is, as the metric says it."""
    ages = metrics.SESSIONS_LIVE.labels["age"]
    return ages[bisect((60.0, 3600.0, 86400.0), seconds)]


def _is_uncut(plane: Plane, record: SessionRecord, tick_seconds: float) -> bool:
    """Whether nobody seems to make bundles of a sealed upload; if somebody does all the same, it does no harm."""
    return not record.counters.total or plane.clock.now() - record.updated_at >= limits.CUT_STALL_TICKS * tick_seconds


def _abort_if_stalled(plane: Plane, record: SessionRecord) -> bool:
    now = plane.clock.now()
    if now - record.updated_at < limits.SUBMIT_STALL_SECONDS:
        return False
    reason = f"its submitter wrote nothing for {limits.SUBMIT_STALL_SECONDS:.0f} s and never finished"
    _advance(plane, record, SessionEvent.ABORT, reason)
    return True


def _drain_if_free(plane: Plane, record: SessionRecord) -> bool:
    """CANCELLED once no agent can still be running its tasks."""
    return end_if_free(plane, record, "reconciler").ended


def _advance(plane: Plane, record: SessionRecord, event: SessionEvent, reason: str) -> None:
    now = plane.clock.now()
    with contextlib.suppress(IllegalTransition):  # it went on since it was read; the next tick sees where it is
        with_retries(
            plane,
            lambda: plane.store.advance(record.session_id, event, now=now, actor="reconciler", reason=reason),
        )
    plane.doorbell.ring(COMMITS)


def _resend(plane: Plane, record: SessionRecord, tick_seconds: float) -> int:
    """Announce what is ready again: all if nothing waits in the queue, else with a chance of one in n after n ticks.

    Messages that wait behind others must not be joined by copies that fill the queue. This way an hour of waiting, 360
    ticks, makes six copies; but what was lost does not come late because it is late.
    """
    now = plane.clock.now()
    ready = with_retries(plane, lambda: plane.store.runnable(record.session_id, now, RESEND_LIMIT))
    sent: list[Hint] = []
    for pool, mine in hints.by_pool(record.pool, ready).items():
        some = [
            hint for hint in mine if plane.rng.random() * (now - max(hint.not_before, record.updated_at)) < tick_seconds
        ]
        sent += mine if len(some) < len(mine) and _may_have_lost(plane, pool, record.pool) else some
    if sent:
        hints.send(plane, record.pool, [replace(hint, priority=record.priority) for hint in sent])
        plane.doorbell.ring(WORK)
    return len(sent)


def _may_have_lost(plane: Plane, pool: str, home: str) -> bool:
    try:
        return with_retries(plane, lambda: plane.queue.may_have_lost(pool))
    except UnknownGrid:
        if pool == home:
            raise
        return False  # of a pool that came after this process began, and others look after
