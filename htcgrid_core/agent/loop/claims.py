"""Claims: an agent takes no more bundles than its slots will soon run, and begins with what it took."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from math import ceil

from htcgrid_core.agent.loop.blob_verifier import BlobVerifier, prepare
from htcgrid_core.agent.loop.calls import CLAIM, COMMIT, LARGE_COMMIT, Result
from htcgrid_core.agent.loop.commits import Commits
from htcgrid_core.agent.loop.leased_bundle import LeasedBundle
from htcgrid_core.agent.loop.newer_sessions import NewerSessions
from htcgrid_core.agent.loop.pending_claims import PendingClaims
from htcgrid_core.agent.loop.resent_hints import ResentHints
from htcgrid_core.agent.loop.state import AgentState
from htcgrid_core.agent.lru import SharedLruCache
from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.agent_version import is_for_newer_agents
from htcgrid_core.domain.errors import GRID_FAILURES, CorruptPayload, IncompatibleGrid
from htcgrid_core.domain.lease import LeaseClock
from htcgrid_core.domain.log_context import LogContext
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.bundle_queue import Hint, Message
from htcgrid_core.ports.traces import LeaseTimes
from htcgrid_core.services.call_retries import delete_message
from htcgrid_core.services.claim import Work, claim, ready_since
from htcgrid_core.services.unreadable import end_unreadable

_log = logging.getLogger(__name__)

CLAIMS_AT_ONCE = 8
SPECS_CACHED = 1000


class Claims:
    """Of one agent.

    Args:
        verifier: of the blobs that tasks read.
    """

    def __init__(self, state: AgentState, commits: Commits, verifier: BlobVerifier) -> None:
        self._state = state
        self._commits = commits
        self._verifier = verifier
        self._pending = PendingClaims()
        self._newer = NewerSessions(state)
        self._resent = ResentHints(state.plane.clock, limits.LEASE_SECONDS)
        self._specs: SharedLruCache[str, SessionSpec] = SharedLruCache(SPECS_CACHED)
        self._begun = 0  # bundles
        self._wake_at = float("-inf")  # monotonic time at which the queue is asked again
        self._waited_at = float("inf")  # and the store, for what tasks here wait for
        self._is_waited = False  # whether one may

    @property
    def under_way(self) -> int:
        """Claims that have not been answered."""
        return self._pending.claims

    def rung(self) -> None:
        """There may be work."""
        self._wake_at = self._waited_at = float("-inf")

    def waits_changed(self) -> None:
        """Tasks wait for other sessions than before."""
        self._is_waited = True
        self._waited_at = float("-inf")

    def next_time(self) -> float:
        """Monotonic time at which to ask the queue again."""
        queue_at = self._wake_at if self._wants_work() else float("inf")
        return min(queue_at, self._waited_at) if self._is_waited and self._wants_waited() else queue_at

    # How much

    def _wants_work(self) -> bool:
        """Whether slots may soon run out of tasks to begin."""
        state = self._state
        if not state.readiness.may_claim:
            return False
        if not self._has_room():
            return False  # what is done comes first
        unstarted = self._pending.tasks
        for leased in state.leases.values():
            if leased.suspect:
                return False  # if it kills this agent, too, no other suspect is here to be charged with it
            if leased.unstarted and not leased.is_full:
                unstarted += len(leased.unstarted)
        idle = state.slots.idle
        return unstarted < idle + (0 if idle else self._backlog())

    def _has_room(self) -> bool:
        """Whether no call that a claim may lead to would wait for others."""
        room = self._state.calls.room
        return room(CLAIM) > 0 and room(COMMIT) > 0 and room(LARGE_COMMIT) > 0

    def _backlog(self) -> int:
        """Unstarted tasks that bridge the time of a claim while no slot is idle.

        None while it is not known how long tasks take.
        """
        slots = self._state.slots
        if slots.all_wait:
            return 0
        paces = [slots.durations.expected(session_id) for session_id in {key[0] for key in self._state.leases}]
        measured = [seconds for seconds in paces if seconds is not None]
        if not measured:
            return 0
        in_time = ceil(self._state.workers.slots * limits.BACKLOG_SECONDS / max(*measured, 1e-6))
        return min(limits.BACKLOG_TASKS, in_time)

    # Asking

    def claim(self) -> None:
        """Claim bundles until there is enough to do, or the queue has no more."""
        state, clock, queue = self._state, self._state.plane.clock, self._state.plane.queue
        while clock.monotonic() >= self._wake_at and self._wants_work():
            limit = min(CLAIMS_AT_ONCE, state.slots.idle + 1, state.calls.room(CLAIM))
            try:
                received = queue.receive(state.identity.pool, limit, clock.now())
                waiting, begun = list(received.messages), self._begun
                state.plane.metrics.add(metrics.HINTS, len(waiting))
                while waiting and clock.monotonic() >= self._wake_at:
                    if (self._begun > begun or self._pending.claims) and not self._wants_work():
                        break
                    self._claim_one(waiting.pop(0))
                if waiting:
                    queue.extend(waiting, 0.0)  # others may have them at once: an agent does not hoard
                is_all = received.is_all and not waiting
            except GRID_FAILURES as error:
                self._grid_failed(error)
                return
            if not received.messages or (is_all and self._begun > begun):
                pause = state.settings.poll_seconds
                if received.wake_at is not None:
                    pause = min(pause, max(0.0, received.wake_at - clock.now()))
                self._wake_at = clock.monotonic() + pause
            elif self._begun == begun and not self._pending.claims:  # others were quicker, or the hints are stale
                self._wake_at = max(self._wake_at, clock.monotonic() + state.plane.rng.uniform(0.0, 0.01))
            if state.is_heartbeat_due:
                return

    def _wants_waited(self) -> bool:
        """Whether slots that are lent have nothing to run: what they may run is no part of the others' work."""
        state = self._state
        if not (state.slots.lendable and state.readiness.may_claim):
            return False
        if self._pending.claims or not self._has_room():
            return False
        waited = state.slots.waited
        ready = sum(len(leased.unstarted) for leased in state.leases.values() if leased.key[0] in waited)
        return ready < state.slots.lendable

    def claim_waited(self) -> None:
        """Claim bundles of sessions that tasks here wait for, whatever stands before them in the queue."""
        if not self._is_waited:
            return
        state, clock = self._state, self._state.plane.clock
        self._is_waited = bool(state.slots.waited)
        if clock.monotonic() < self._waited_at or not self._wants_waited():
            return
        began, begun = clock.monotonic(), self._begun
        try:
            for hint in self._ready_of(state.slots.waited):
                if not self._wants_waited():
                    break
                self._claim_one(Message(hint))
            if self._begun == begun and not self._pending.claims:
                self._waited_at = began + state.settings.poll_seconds
        except GRID_FAILURES as error:
            self._grid_failed(error)

    def _ready_of(self, session_ids: Collection[str]) -> Iterator[Hint]:
        store, now = self._state.plane.store, self._state.plane.clock.now()
        for record in store.progress(sorted(session_ids)[: limits.PROGRESS_BATCH], now):
            pool = self._state.identity.pool
            if pool in (record.pool, record.larger_pool) and not is_for_newer_agents(record.spec) and not record.ended:
                ready = store.runnable(record.session_id, now, CLAIMS_AT_ONCE)
                yield from (hint for hint in ready if (hint.pool or record.pool) == pool)

    def _grid_failed(self, error: Exception) -> None:
        self._state.readiness.grid_failed(error)
        self._wake_at = self._state.plane.clock.monotonic() + self._state.settings.poll_seconds

    def _claim_one(self, message: Message) -> None:
        if self._newer.is_known(message.hint.session_id):
            self._newer.leave(message)
            return
        self._pending.begin(message.hint)
        self._state.calls.make(CLAIM, partial(self._lease, message), partial(self._claimed, message))

    def _lease(self, message: Message) -> LeasedBundle | None:
        """Claim a bundle and have all that it needs at hand. May run in any thread."""
        with LogContext(session=message.hint.session_id, bundle=message.hint.bundle_id):
            try:
                return self._lease_hinted(message)
            except CorruptPayload as error:  # that session's trouble, not this agent's
                plane, who = self._state.plane, self._state.identity.agent_id
                if end_unreadable(plane, message.hint.session_id, error, who):
                    delete_message(plane, message)
                return None

    def _lease_hinted(self, message: Message) -> LeasedBundle | None:
        state, settings = self._state, self._state.settings
        before, began_at = state.plane.clock.monotonic(), state.plane.clock.now()
        work = claim(
            state.plane,
            message,
            agent_id=state.identity.agent_id,
            lease_seconds=settings.lease_seconds,
            spec_of=self._spec_of,
            not_resent=self._resent.not_recent,
        )
        if work is None:
            return None
        work = replace(work, spec=self._sized(work))
        lease_clock = LeaseClock(before, settings.lease_seconds, settings.lease_margin_seconds)
        ready_at = ready_since(message, work)
        times = LeaseTimes(began_at, began_at, ready_at)
        if times.waited_seconds is not None:
            state.plane.metrics.observe(metrics.QUEUE_WAIT_SECONDS, (times.waited_seconds,))
        traced_every = state.plane.traces.traced_every(work.session, work.spec)
        leased = prepare(self._verifier, work, message, lease_clock, times, traced_every)
        leased.times = replace(times, leased_at=state.plane.clock.now())
        return leased

    def _spec_of(self, record: SessionRecord) -> SessionSpec:
        spec = self._specs.get(record.spec)
        if spec is None:
            spec = self._specs.put(record.spec, self._limited(record.parsed_spec()))
        return spec

    def _sized(self, work: Work) -> SessionSpec:
        """With the memory that its tasks have here: in the session's own pool what it asks for, or else all of a slot.

        Programs that are no Python are not confined unless that was asked for: many reserve what they never use.
        """
        spec, size = work.spec, self._state.settings.size
        is_moved = work.bundle.pool not in ("", work.session.pool)
        package = spec.function.package
        if (spec.memory_mb is not None and not is_moved) or not (package is None or package.is_python):
            return spec
        memory_mb = None if size is None else size.memory_mb
        if memory_mb == spec.memory_mb:
            return spec
        name = f"{memory_mb} MiB of {work.session.spec}"
        return self._specs.get(name) or self._specs.put(name, spec.model_copy(update={"memory_mb": memory_mb}))

    def _limited(self, spec: SessionSpec) -> SessionSpec:
        """With this agent's own limit of a task's time."""
        longest = self._state.settings.longest_task_seconds
        if (spec.task_timeout_seconds or float("inf")) <= longest:
            return spec
        return spec.model_copy(update={"task_timeout_seconds": longest})

    # Beginning

    def _claimed(self, message: Message, result: Result[LeasedBundle | None]) -> None:
        leased = None
        try:
            leased = result()
        except GRID_FAILURES as error:
            self._grid_failed(error)
            return
        except IncompatibleGrid:
            self._newer.leave(message)
            return
        finally:
            self._pending.end(message.hint, len(leased.work.bundle.indexes) if leased else 0)
        if leased is None:
            self._state.readiness.grid_answered()
        else:
            self._begin(leased)
            self._state.dispatch()  # its first task runs while the next bundle is claimed

    def _begin(self, leased: LeasedBundle) -> None:
        """Take a claimed bundle in hand."""
        state, bundle = self._state, leased.work.bundle
        if _log.isEnabledFor(logging.DEBUG):
            with leased.log_context:
                _log.debug("claimed", extra={"tasks": len(bundle.indexes)})
        state.worked_at = state.plane.clock.monotonic()
        if leased.work.lease.epoch > 1:  # it was another's, whose lease lapsed
            state.plane.metrics.add(metrics.RETRIES, len(bundle.indexes), kind="agent")
        self._begun += 1
        has_suspect = leased.suspect and any(other.suspect for other in state.leases.values())
        state.hold(leased)
        if leased.pool != state.identity.pool:
            # Its token was used again, to ask for this pool, and refused after agents had been told.
            state.readiness.grid_answered()
            leased.unstarted.extend(bundle.indexes)
            self._commits.give_away(leased, delay_seconds=0.0)
            return
        if leased.failure is not None:
            # Kept, its lease would lapse, and that would count as the death of an agent.
            state.readiness.grid_failed(leased.failure)
            leased.unstarted.extend(bundle.indexes)
            self._commits.give_away(leased)
            return
        state.readiness.grid_answered()
        if bundle.crashes >= limits.CRASHES_BEFORE_ISOLATION and len(bundle.indexes) > 1:
            # Agents died with it: its tasks go on one by one, so that the one that kills is found and fails alone.
            self._commits.isolate(leased)
        elif bundle.crashes >= limits.CRASH_LIMIT and leased.work.lease.epoch > 1:
            # Of these agents one held it alone: others may have died before they had handed its bundle back one by one.
            text = f"{bundle.crashes} agents ended or vanished while they held this task"
            leased.fail_finally(TaskError("AgentLost", text), state.plane.clock.now())
        elif leased.corrupt:
            leased.fail_finally(TaskError("CorruptPayload", leased.corrupt), state.plane.clock.now())
        elif has_suspect:  # both were claimed at once: see _wants_work
            self._commits.isolate(leased)
        else:
            leased.unstarted.extend(bundle.indexes)
