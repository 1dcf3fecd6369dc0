"""The agent's loop: claim, hand out, collect, commit; heartbeats, slices, fencing and drain around it.

Single-threaded, and everything it touches is a port, so that the simulator runs this very code in virtual time. What
may take long, claims, commits and heartbeats, are ``Calls``, which may have threads; their results come back here.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection
from functools import partial

from htcgrid_core.agent.loop.blob_verifier import BlobVerifier
from htcgrid_core.agent.loop.calls import Calls, InlineCalls
from htcgrid_core.agent.loop.chores import Chore
from htcgrid_core.agent.loop.claims import Claims
from htcgrid_core.agent.loop.commits import Commits
from htcgrid_core.agent.loop.heartbeats import Heartbeats
from htcgrid_core.agent.loop.readiness import Readiness
from htcgrid_core.agent.loop.slots import TIMEOUT, Slots
from htcgrid_core.agent.loop.state import AgentState
from htcgrid_core.agent.settings import AgentIdentity, AgentSettings
from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.agent import AgentMemory
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.worker import (
    STOPPED,
    Flushed,
    LoadFailed,
    Refused,
    Rung,
    StartFailed,
    Used,
    Waits,
    WorkerEvent,
    WorkerLost,
    WorkerPool,
)
from htcgrid_core.services.cancel import cancel

_log = logging.getLogger(__name__)

_WHY_LOST = {TIMEOUT: "timeout", STOPPED: "stopped"}


class Agent:
    """One agent.

    ``step`` does what is to do and waits for what happens next; ``run`` repeats it until the agent is drained.
    """

    def __init__(
        self,
        plane: Plane,
        workers: WorkerPool,
        identity: AgentIdentity,
        settings: AgentSettings | None = None,
        chores: tuple[Chore, ...] = (),
        calls: Calls | None = None,
        on_end: Callable[[SessionRecord], object] = lambda _record: None,
        memory: Callable[[], AgentMemory] = AgentMemory,
    ) -> None:
        """An agent that has not begun.

        Args:
            chores: to do beside the tasks.
            calls: how it makes calls that may take long; inline by default.
            on_end: called in the loop with the row of a session that a commit of its has ended.
            memory: asks what it takes of memory, in any thread; by default nobody knows.
        """
        self.identity = identity
        self.readiness = Readiness(plane.clock)
        self._plane = plane
        self._workers = workers
        self._settings = settings or AgentSettings()
        self._calls = calls or InlineCalls()
        self._slots = Slots(workers, plane.clock)
        self._state = AgentState(
            plane,
            workers,
            identity,
            self._settings,
            self._calls,
            self.readiness,
            self._slots,
            started_at=plane.clock.now(),
            worked_at=plane.clock.monotonic(),
            on_end=on_end,
            memory=memory,
        )
        verifier = BlobVerifier(plane)
        self._commits = Commits(self._state)
        self._claims = Claims(self._state, self._commits, verifier)
        self._heartbeats = Heartbeats(self._state, self._commits, verifier)
        self._session_check = Chore(float("inf"), self._heartbeats.check_sessions, float("inf"))
        background = [
            Chore(chore.every_seconds, partial(self._heartbeats.in_background, chore.action), chore.due_at)
            for chore in chores
        ]
        self._chores = (self._session_check, *background)
        self._drain_until: float | None = None

    # Life

    def run(self) -> None:
        """Work until drained."""
        while not self.drained:
            self.step()
        self._workers.close()
        self._calls.close()
        self._state.tolerating(self._heartbeats.tell_rest)
        self._state.tolerating(lambda: self._plane.store.forget_agent(self.identity.agent_id))

    def drain(self) -> None:
        """Take no more work, hand back what has not begun, give what runs its grace time. Safe in a signal handler."""
        self.readiness.draining = True
        if self._drain_until is None:
            self._drain_until = self._plane.clock.monotonic() + self._settings.drain_grace_seconds

    @property
    def drained(self) -> bool:
        """Whether it was asked to drain and holds nothing any more."""
        return self._drain_until is not None and not self._state.leases and not self._claims.under_way

    @property
    def worked_at(self) -> float:
        """Monotonic time at which it last had a lease."""
        return self._state.worked_at

    @property
    def leases(self) -> int:
        """Bundles that it holds."""
        return len(self._state.leases)

    @property
    def claims_under_way(self) -> int:
        """Claims that have not been answered."""
        return self._claims.under_way

    @property
    def slots(self) -> int:
        """Tasks that it can run at once."""
        return self._workers.slots

    @property
    def busy(self) -> int:
        """Slots that have a task."""
        return self._slots.busy

    @property
    def agents(self) -> int:
        """Agents of its pool, as of the last heartbeat."""
        return self._state.agents

    @property
    def memory(self) -> AgentMemory:
        """What it and its workers take of memory now, and what they may. May be asked for in any thread."""
        return self._state.memory()

    # The loop

    def step(self) -> None:
        """Do what is to do, wait for what happens next, and handle it."""
        clock = self._plane.clock
        self.readiness.begin_iteration(self._workers.missing())
        self._do_what_is_due()
        if self._drain_until is None:
            self._claims.claim()
            self._claims.claim_waited()
        else:
            self._commits.hand_back(grace_is_over=clock.monotonic() >= self._drain_until)
        for event in self._workers.wait(self._next_time() - clock.monotonic()):
            self._handle(event)
        self._calls.collect()
        now = clock.monotonic()
        self._slots.check(now)
        self._state.dispatch()  # before any call to the grid: slots must not wait for it
        self._commits.abandon_lapsed(now)
        self._commits.commit_due(now)

    def _do_what_is_due(self) -> None:
        clock, state = self._plane.clock, self._state
        if state.is_heartbeat_due:
            state.heartbeat_at = clock.monotonic() + self._settings.heartbeat_seconds
            state.tolerating(self._heartbeats.beat)
        for chore in self._chores:
            if clock.monotonic() >= chore.due_at:
                chore.due_at = clock.monotonic() + chore.every_seconds
                state.tolerating(chore.action)

    def _next_time(self) -> float:
        """Monotonic time until which nothing is to be done unless something happens."""
        times = [chore.due_at for chore in self._chores]
        times += [self._state.heartbeat_at, self._claims.next_time()]
        if (check := self._slots.next_check()) is not None:
            times.append(check)
        if self._drain_until is not None and self._drain_until > self._plane.clock.monotonic():
            times.append(self._drain_until)
        for leased in self._state.leases.values():
            times.append(leased.clock.trusted_until())
            if not leased.committing:
                times.append(leased.slice_at)
        return min(times)

    def _handle(self, event: WorkerEvent) -> None:
        count = self._plane.metrics
        match event:
            case Flushed():
                self.readiness.worker_answered()
                self._slots.on_flushed(event)
                count.add(metrics.OVERHEAD_SECONDS, self._slots.take_overhead())
            case Used():
                self._slots.on_used(event)
            case Refused():
                self._slots.on_refused(event)
            case WorkerLost():
                count.add(metrics.WORKERS_LOST, reason=_WHY_LOST.get(event.error.type, "crashed"))
                _log.info("a worker ended", extra={"slot": event.slot, "error": event.error.type})
                self._slots.on_lost(event)
            case LoadFailed():
                count.add(metrics.WORKERS_LOST, reason="load_failed")
                _log.warning("a function could not be loaded", extra={"slot": event.slot})
                self._slots.on_load_failed(event)
            case StartFailed():
                count.add(metrics.WORKERS_LOST, reason="start_failed")
                if self._slots.rest(event.slot):
                    self.readiness.worker_missed(event.reason)
                    if (seconds := self._slots.stuck_seconds) > 0.0:
                        self._end_what_nobody_can_run(seconds, self._slots.waited)
                    return
                self.readiness.worker_failed(event.reason)
                self._slots.release(event.slot)
                if not self.readiness.missing:
                    held = frozenset(leased.key[0] for leased in self._state.held())
                    self._end_what_nobody_can_run(self.readiness.seconds_without_workers(), held)
                if self.readiness.missing or self.readiness.workers_are_open:
                    self._commits.give_all_away()
            case Waits():
                self._slots.on_waits(event)
                self._claims.waits_changed()
            case Rung():
                self._claims.rung()
                if self._state.leases and self._session_check.due_at == float("inf"):
                    self._session_check.due_at = self._plane.clock.monotonic() + self._settings.look_seconds

    def _end_what_nobody_can_run(self, seconds: float, session_ids: Collection[str]) -> None:
        """End them if no worker has started for as long as whoever waits is patient, and no other agent can go on."""
        if seconds < limits.PATIENCE_SECONDS or self._state.agents > 1:
            return
        reason = f"no worker could start for {seconds:.0f} s, and there is no other agent: {self.readiness.problem}"
        for session_id in session_ids:
            _log.error("a session is ended: %s", reason, extra={"session": session_id})
            with contextlib.suppress(SessionNotFound):  # whose retention is over
                self._state.tolerating(
                    partial(cancel, self._plane, session_id, actor=self.identity.agent_id, reason=reason)
                )
