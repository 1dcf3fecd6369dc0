"""The agent's loop: claim, hand out, collect, commit; heartbeats, slices, fencing and drain around it.

Single-threaded, and everything it touches is a port, so that the simulator runs this very code in virtual time. What
may take long, claims, commits and heartbeats, are ``Calls``, which may have threads; their results come back here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

from htcgrid_core.agent.calls import CHORE, CLAIM, COMMIT, HEARTBEAT, Calls, InlineCalls, Lane, Result
from htcgrid_core.agent.condition import Condition
from htcgrid_core.agent.expecting import Expecting
from htcgrid_core.agent.leased import Leased
from htcgrid_core.agent.preparing import Verifier, prepare
from htcgrid_core.agent.recent import SharedRecent
from htcgrid_core.agent.settling import apply, go_on, plan
from htcgrid_core.agent.slots import STOPPED, TIMEOUT, Slots
from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.about import About
from htcgrid_core.domain.bundle import share_size
from htcgrid_core.domain.errors import GRID_FAILURES, GridUnavailable, LeaseLost
from htcgrid_core.domain.lease import LeaseClock
from htcgrid_core.domain.lifecycle import SESSION, SessionState
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.bundle_queue import Message
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import AgentRecord, Renewed
from htcgrid_core.ports.worker import Flushed, LoadFailed, Rung, StartFailed, WorkerEvent, WorkerLost, WorkerPool
from htcgrid_core.services.claim import Work, claim
from htcgrid_core.services.renew import renew

_log = logging.getLogger(__name__)

CLAIMS_AT_ONCE = 8
_WHY_LOST = {TIMEOUT: "timeout", STOPPED: "stopped"}
SPECS_CACHED = 1000
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """Who an agent is."""

    agent_id: str
    pool: str = "default"
    host: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """An agent's times, in seconds.

    ``look_seconds``: between looks at whether a ring means that a session here was cancelled; infinite where no ring
    can mean that, since nobody rings from another machine.
    """

    lease_seconds: float = limits.LEASE_SECONDS
    lease_margin_seconds: float = limits.LEASE_MARGIN_SECONDS
    heartbeat_seconds: float = limits.HEARTBEAT_SECONDS
    poll_seconds: float = limits.AGENT_POLL_SECONDS
    drain_grace_seconds: float = limits.DRAIN_GRACE_SECONDS
    stuck_seconds: float = limits.STUCK_SECONDS
    look_seconds: float = LOOK_SECONDS


@dataclass(slots=True)
class Chore:
    """Something to do every so often beside the tasks; due at a monotonic time."""

    every_seconds: float
    action: Callable[[], object]
    due_at: float = float("-inf")


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
    ) -> None:
        """An agent that has not begun.

        Args:
            chores: to do beside the tasks.
            calls: how it makes calls that may take long; inline by default.
        """
        self.identity = identity
        self.worked_at = plane.clock.monotonic()  # when it last had a lease
        self.condition = Condition(plane.clock)
        self._plane = plane
        self._workers = workers
        self._settings = settings or AgentSettings()
        self._calls = calls or InlineCalls()
        self._expecting = Expecting()
        self._slots = Slots(workers, plane.clock)
        self._verifier = Verifier(plane)
        self._look = Chore(float("inf"), self._look_at_sessions, float("inf"))
        aside = [Chore(chore.every_seconds, partial(self._make, CHORE, chore.action), chore.due_at) for chore in chores]
        self._chores = (Chore(self._settings.heartbeat_seconds, self._heartbeat), self._look, *aside)
        self._leases: dict[tuple[str, str], Leased] = {}
        self._specs: SharedRecent[str, SessionSpec] = SharedRecent(SPECS_CACHED)
        self._begun = 0  # bundles
        self._agents = 1  # that the pool can reach, as of the last heartbeat
        self._wake_at = float("-inf")  # monotonic time at which the queue is asked again
        self._drain_until: float | None = None

    # Life

    def run(self) -> None:
        """Work until drained."""
        while not self.drained:
            self.step()
        self._workers.close()
        self._calls.close()
        self._tolerating(lambda: self._plane.store.forget_agent(self.identity.agent_id))

    def drain(self) -> None:
        """Take no more work, hand back what has not begun, give what runs its grace time. Safe in a signal handler."""
        self.condition.draining = True
        if self._drain_until is None:
            self._drain_until = self._plane.clock.monotonic() + self._settings.drain_grace_seconds

    @property
    def drained(self) -> bool:
        """Whether it was asked to drain and holds nothing any more."""
        return self._drain_until is not None and not self._leases and not self._expecting.claims

    @property
    def leases(self) -> int:
        """Bundles that it holds."""
        return len(self._leases)

    @property
    def slots(self) -> int:
        """Tasks that it can run at once."""
        return self._workers.slots

    @property
    def busy(self) -> int:
        """Slots that have a task."""
        return self._workers.slots - self._slots.idle

    @property
    def agents(self) -> int:
        """Agents of its pool, as of the last heartbeat."""
        return self._agents

    def step(self) -> None:
        """Do what is to do, wait for what happens next, and handle it."""
        clock = self._plane.clock
        self.condition.turn(self._workers.missing())
        for chore in self._chores:
            if clock.monotonic() >= chore.due_at:
                chore.due_at = clock.monotonic() + chore.every_seconds
                self._tolerating(chore.action)
        if self._drain_until is None:
            self._claim()
        else:
            self._hand_back(clock.monotonic() >= self._drain_until)
        for event in self._workers.wait(self._next_time() - clock.monotonic()):
            self._handle(event)
        self._calls.collect()
        now = clock.monotonic()
        self._slots.check(now)
        self._slots.hand_out(list(self._leases.values()))  # before any call to the grid: slots must not wait for it
        for leased in list(self._leases.values()):
            if now >= leased.clock.trusted_until():
                self._abandon(leased, "not_renewed")  # another may have it already
        self._settle(now)

    def _next_time(self) -> float:
        times = [chore.due_at for chore in self._chores]
        if self._wants_work():
            times.append(self._wake_at)
        if (check := self._slots.next_check()) is not None:
            times.append(check)
        if self._drain_until is not None and self._drain_until > self._plane.clock.monotonic():
            times.append(self._drain_until)
        for leased in self._leases.values():
            times.append(leased.clock.trusted_until())
            if not leased.committing:
                times.append(leased.slice_at)
        return min(times)

    def _make(self, lane: Lane, call: Callable[[], object]) -> None:
        """Make a call of which nobody wants to know more than that the grid could be reached; one at a time."""
        if self._calls.room(lane) > 0:
            self._calls.make(lane, call, self._tolerating)

    def _tolerating(self, action: Callable[[], object]) -> None:
        """Do what is repeated anyway: a grid that cannot be used now is no reason to drop running tasks."""
        try:
            action()
        except GRID_FAILURES as error:
            self.condition.grid_failed(error)

    # Claim

    def _unstarted(self) -> int:
        return sum(len(leased.unstarted) for leased in self._leases.values())

    def _wants_work(self) -> bool:
        """Whether slots may soon run out of tasks to begin."""
        if not self.condition.may_claim:
            return False
        if self._calls.room(CLAIM) <= 0 or self._calls.room(COMMIT) <= 0:
            return False  # what is done comes first
        if any(leased.suspect for leased in self._leases.values()):
            return False  # if it kills this agent, too, no other suspect is here to be charged with it
        return self._unstarted() + self._expecting.tasks < self._slots.idle + self._backlog()

    def _backlog(self) -> int:
        """Unstarted tasks that bridge the time of a claim; none while it is not known how long tasks take."""
        if self._slots.idle:
            return 0
        paces = [self._slots.pace.seconds(session_id) for session_id in {key[0] for key in self._leases}]
        known = [seconds for seconds in paces if seconds is not None]
        if not known:
            return 0
        return min(limits.BACKLOG_TASKS, ceil(self._workers.slots * limits.BACKLOG_SECONDS / max(*known, 1e-6)))

    def _claim(self) -> None:
        clock, queue = self._plane.clock, self._plane.queue
        while self._wants_work() and clock.monotonic() >= self._wake_at:
            limit = min(CLAIMS_AT_ONCE, self._slots.idle + 1, self._calls.room(CLAIM))
            try:
                received = queue.receive(self.identity.pool, limit, clock.now())
                waiting, begun = list(received.messages), self._begun
                self._plane.metrics.add(metrics.HINTS, len(waiting))
                while waiting and clock.monotonic() >= self._wake_at:
                    if (self._begun > begun or self._expecting.claims) and not self._wants_work():
                        break
                    self._claim_one(waiting.pop(0))
                if waiting:
                    queue.extend(waiting, 0.0)  # others may have them at once: an agent does not hoard
            except GRID_FAILURES as error:
                self._grid_failed(error)
                return
            if not received.messages:
                pause = self._settings.poll_seconds
                if received.wake_at is not None:
                    pause = min(pause, max(0.0, received.wake_at - clock.now()))
                self._wake_at = clock.monotonic() + pause
            elif self._begun == begun and not self._expecting.claims:  # others were quicker, or the hints are stale
                self._wake_at = max(self._wake_at, clock.monotonic() + self._plane.rng.uniform(0.0, 0.01))
            if self._is_heartbeat_due():
                return

    def _grid_failed(self, error: Exception) -> None:
        self.condition.grid_failed(error)
        self._wake_at = self._plane.clock.monotonic() + self._settings.poll_seconds

    def _claim_one(self, message: Message) -> None:
        self._expecting.begin(message.hint.session_id)
        self._calls.make(CLAIM, partial(self._lease, message), partial(self._claimed, message))

    def _lease(self, message: Message) -> Leased | None:
        """Claim a bundle and have all that it needs at hand. May run in any thread."""
        with About(session=message.hint.session_id, bundle=message.hint.bundle_id):
            return self._lease_hinted(message)

    def _lease_hinted(self, message: Message) -> Leased | None:
        settings, before = self._settings, self._plane.clock.monotonic()
        work = claim(
            self._plane,
            message,
            agent_id=self.identity.agent_id,
            lease_seconds=settings.lease_seconds,
            spec_of=self._spec_of,
        )
        if work is None:
            return None
        lease_clock = LeaseClock(before, settings.lease_seconds, settings.lease_margin_seconds)
        return prepare(self._verifier, work, message, lease_clock, before + self._slice_seconds)

    def _claimed(self, message: Message, result: Result[Leased | None]) -> None:
        leased = None
        try:
            leased = result()
        except GRID_FAILURES as error:
            self._grid_failed(error)
            return
        finally:
            self._expecting.end(message.hint.session_id, len(leased.work.bundle.indexes) if leased else 0)
        if leased is None:
            self.condition.grid_answered()
        else:
            self._begin(leased)
            self._slots.hand_out(list(self._leases.values()))  # its first task runs while the next bundle is claimed

    def _spec_of(self, record: SessionRecord) -> SessionSpec:
        spec = self._specs.get(record.spec)
        if spec is None:
            spec = self._specs.put(record.spec, SessionSpec.model_validate_json(record.spec))
        return spec

    def _begin(self, leased: Leased) -> None:
        """Take a claimed bundle in hand."""
        with leased.about:
            _log.debug("claimed", extra={"tasks": len(leased.work.bundle.indexes)})
        self.worked_at = self._plane.clock.monotonic()
        self._begun += 1
        has_suspect = leased.suspect and any(other.suspect for other in self._leases.values())
        self._leases[leased.key] = leased
        bundle = leased.work.bundle
        if leased.failure is not None:
            # Kept, its lease would lapse, and that would count as the death of an agent.
            self.condition.grid_failed(leased.failure)
            leased.unstarted.extend(bundle.indexes)
            self._give_away(leased)
            return
        self.condition.grid_answered()
        if bundle.crashes >= limits.CRASHES_BEFORE_ISOLATION and len(bundle.indexes) > 1:
            # Agents died with it: its tasks go on one by one, so that the one that kills is found and fails alone.
            leased.stopping = True
            leased.unstarted.extend(bundle.indexes)
            self._settle_one(leased, share=1)
        elif bundle.crashes >= limits.CRASH_LIMIT:
            text = f"{bundle.crashes} agents ended or vanished while they held this task"
            self._slots.fail_finally(leased, TaskError("AgentLost", text))
        elif leased.corrupt:
            self._slots.fail_finally(leased, TaskError("CorruptPayload", leased.corrupt))
        elif has_suspect:  # both were claimed at once: see _wants_work
            leased.stopping = True
            leased.unstarted.extend(bundle.indexes)
            self._settle_one(leased, share=1)
        else:
            leased.unstarted.extend(bundle.indexes)

    # Events

    def _handle(self, event: WorkerEvent) -> None:
        count = self._plane.metrics
        match event:
            case Flushed():
                self.condition.worker_answered()
                self._slots.on_flushed(event)
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
                self.condition.worker_failed(event.reason)
                self._slots.release(event.slot)
                if self.condition.missing or self.condition.workers_are_open:
                    for leased in self._free_to_settle():
                        self._give_away(leased)
            case Rung():
                self._wake_at = float("-inf")
                if self._leases and self._look.due_at == float("inf"):
                    self._look.due_at = self._plane.clock.monotonic() + self._settings.look_seconds

    def _look_at_sessions(self) -> None:
        """Something rang: heartbeat now if a session here has ended or is being cancelled."""
        self._look.due_at = float("inf")
        session_ids = sorted({session_id for session_id, _ in self._leases})
        for at in range(0, len(session_ids), limits.PROGRESS_BATCH):
            batch = session_ids[at : at + limits.PROGRESS_BATCH]
            records = self._plane.store.progress(batch, self._plane.clock.now())
            going_on = (SessionState.SUBMITTED, SessionState.RUNNING)
            if len(records) < len(batch) or any(record.state not in going_on for record in records):
                self._heartbeat()
                return

    def _is_heartbeat_due(self) -> bool:
        return self._plane.clock.monotonic() >= self._chores[0].due_at

    def _heartbeat(self) -> None:
        """Renew every lease in one call, stop what its session no longer wants, and say what this agent does."""
        if self._calls.room(HEARTBEAT) <= 0:
            return  # the one before has not been answered
        held = [(leased, leased.work) for leased in self._leases.values()]
        if not held:
            self._beat()
            return
        self.worked_at = before = self._plane.clock.monotonic()
        leases = [(work.bundle, work.lease) for _, work in held]
        self._calls.make(
            HEARTBEAT,
            lambda: renew(self._plane, leases, self._settings.lease_seconds),
            lambda result: self._tolerating(lambda: self._renewed(held, before, result)),
        )

    def _renewed(self, held: Sequence[tuple[Leased, Work]], before: float, result: Result[list[Renewed]]) -> None:
        for (leased, work), answer in zip(held, result(), strict=True):
            if self._leases.get(leased.key) is not leased:
                continue  # it was settled meanwhile
            if leased.committing and SESSION.is_terminal(answer.session_state):
                continue  # ended by this very commit, perhaps; its own answer tells
            if SESSION.is_terminal(answer.session_state):
                self._abandon(leased, "session_ended")
                continue
            if leased.work is work:
                if answer.held:
                    leased.clock.renewed_at = before
                elif leased.settlement is None:  # else the commit's own answer tells whose the lease was
                    self._abandon(leased, "refused")
                    continue
            if answer.session_state is SessionState.CANCELLING:
                self._stop(leased)
        messages = [leased.message for leased in self._leases.values() if leased.message is not None]
        self._plane.queue.extend(messages, self._settings.lease_seconds)
        if self._calls.room(CHORE) > 0:  # not in the heartbeat's lane: it may have to fetch something large
            self._calls.make(CHORE, partial(self._verifier.keep, list(self._leases.values())), self._tolerating)
        self._beat()

    def _beat(self) -> None:
        who, now, problem = self.identity, self._plane.clock.now(), self.condition.missing or self.condition.problem
        record = AgentRecord(who.agent_id, who.pool, who.host, who.pid, self.slots, self.busy, now, problem)
        self._calls.make(HEARTBEAT, partial(self._tell, record), lambda told: self._tolerating(lambda: self._see(told)))

    def _tell(self, record: AgentRecord) -> list[AgentRecord]:
        """Say what this agent does, and hear of the others, in a large fleet not each time. May run in any thread."""
        self._plane.store.beat(record)
        if self._plane.rng.random() * self._agents >= limits.ROSTER_READS_A_BEAT:
            return []
        try:
            return self._plane.store.agents(record.beat_at)
        except GridUnavailable:  # when many come at once; the beat itself is through, and another one asks again
            return []

    def _see(self, told: Result[list[AgentRecord]]) -> None:
        agents = told()
        self.condition.heartbeat_answered()
        if agents:
            self._agents = max(1, sum(agent.pool == self.identity.pool for agent in agents))

    # Stop

    def _stop(self, leased: Leased) -> None:
        """End a bundle's tasks: those with an outcome are committed, the others are not run."""
        leased.stopping = True
        self._slots.stop(leased)
        leased.unstarted.clear()
        leased.running.clear()
        leased.retries.clear()

    def _abandon(self, leased: Leased, why: str) -> None:
        """The bundle is another's, or nobody's any more: drop it and its outcomes."""
        if self._leases.get(leased.key) is not leased:
            return  # it was dropped before
        self._plane.metrics.add(metrics.BUNDLES_LOST, reason=why)
        with leased.about:
            _log.warning("a bundle is lost: %s", why, extra={"reason": why, "done": len(leased.outcomes)})
        self._stop(leased)
        del self._leases[leased.key]

    def _give_away(self, leased: Leased) -> None:
        """It cannot be run here now: hand back what has not begun, for others or for later."""
        leased.stopping = True
        self._settle_one(leased, share=limits.MAX_BUNDLE_TASKS, delay_seconds=limits.BREAKER_COOLDOWN_SECONDS)

    def _hand_back(self, grace_is_over: bool) -> None:
        for leased in self._free_to_settle():
            if grace_is_over and leased.running:
                unfinished = sorted([*leased.running, *leased.unstarted])
                self._slots.stop(leased)
                leased.running.clear()
                leased.unstarted.clear()
                leased.unstarted.extend(unfinished)
                self._settle_one(leased, share=limits.MAX_BUNDLE_TASKS)
            elif leased.unstarted:
                leased.stopping = True
                self._settle_one(leased, share=limits.MAX_BUNDLE_TASKS)

    # Commit

    def _free_to_settle(self) -> list[Leased]:
        """Bundles without a commit under way."""
        return [leased for leased in self._leases.values() if not leased.committing]

    def _settle(self, now: float) -> None:
        for leased in self._free_to_settle():
            if self._settle_if_due(leased, now) and self._is_heartbeat_due():
                return  # where a commit takes long, many of them must not cost the leases of the others

    def _settle_if_due(self, leased: Leased, now: float) -> bool:
        """Commit what is to be committed now; whether there was anything."""
        if leased.settlement is not None:
            if now < leased.slice_at:
                return False
            self._settle_one(leased, share=None)
            return True
        if leased.done:
            self._settle_one(leased, share=None)
            return True
        if now < leased.slice_at and leased.outcomes.size < limits.COMMIT_BYTES:
            return False
        share = self._share(leased)
        if leased.outcomes or leased.retries or (leased.unstarted and share is not None):
            self._settle_one(leased, share=share)
        else:
            leased.slice_at = now + self._slice_seconds
        return True

    def _others_wait(self, leased: Leased) -> bool:
        """Whether a bundle of another session is ready."""
        queue = self._plane.queue
        try:
            messages = queue.receive(self.identity.pool, CLAIMS_AT_ONCE, self._plane.clock.now()).messages
            if messages:
                queue.extend(messages, 0.0)
        except GRID_FAILURES:
            return False
        return any(message.hint.session_id != leased.key[0] for message in messages)

    @property
    def _slice_seconds(self) -> float:
        """After which what is done is committed: the more agents, the longer, or they would commit too often."""
        fleet = min(limits.MAX_SLICE_SECONDS, self._agents * limits.SLICE_SECONDS_AN_AGENT)
        return max(self._plane.time_slice_seconds, fleet)

    def _share(self, leased: Leased) -> int | None:
        """Tasks of one child to hand back; None to keep the rest, since nobody else would take or need the slots."""
        if self._agents == 1 and not (leased.unstarted and self._others_wait(leased)):
            return None
        seconds = self._slots.pace.seconds(leased.key[0])
        if seconds is None:
            slice_tasks = self._workers.slots
        else:
            slice_tasks = max(self.slots, int(self.slots * self._slice_seconds / max(seconds, 1e-6)))
        return share_size(slice_tasks, leased.work.session.counters.pending, self._agents)

    def _settle_one(self, leased: Leased, *, share: int | None, delay_seconds: float = 0.0) -> None:
        """Commit what is done; what runs stays ours under a new lease, the rest is kept or shared."""
        if leased.settlement is None:
            leased.settlement = plan(
                self._plane,
                leased,
                share=share,
                lease_seconds=self._settings.lease_seconds,
                delay_seconds=delay_seconds,
            )
        leased.committing = True
        self._calls.make(COMMIT, partial(apply, self._plane, leased, leased.settlement), partial(self._settled, leased))

    def _settled(self, leased: Leased, result: Result[SessionRecord]) -> None:
        try:
            record = result()
        except LeaseLost:
            self._abandon(leased, "refused")
            return
        except GRID_FAILURES as error:  # its fate is unknown: the same commit again later, until the lease runs out
            self.condition.grid_failed(error)
            leased.slice_at = self._plane.clock.monotonic() + self._plane.time_slice_seconds
            return
        finally:
            leased.committing = False
        if leased.failure is None:
            self.condition.grid_answered()
        if self._leases.get(leased.key) is leased:  # not abandoned meanwhile
            del self._leases[leased.key]
            if go_on(leased, record, self._settings.lease_seconds, self._slice_seconds):
                self._leases[leased.key] = leased
