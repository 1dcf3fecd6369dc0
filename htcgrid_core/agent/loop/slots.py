"""The slots of an agent: handing tasks out, collecting outcomes, time limits, and taking back what waits."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from htcgrid_core.agent.loop.leased_bundle import LeasedBundle
from htcgrid_core.agent.loop.lending import Lending, Wait
from htcgrid_core.agent.loop.task_durations import TaskDurations
from htcgrid_core.agent.loop.usage_tally import UsageTally
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent import BegunTask
from htcgrid_core.domain.breaker import Breaker
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.clock import Clock
from htcgrid_core.ports.worker import STOPPED, Chunk, Flushed, LoadFailed, Refused, Used, Waits, WorkerLost, WorkerPool

TIMEOUT = "TaskTimeout"


@dataclass(slots=True)
class DispatchedChunk:
    """A chunk on a slot.

    Attributes:
        pending: its tasks that have no outcome yet.
        sent_at: monotonic time at which it was handed over.
        ran_seconds: how long handlers ran for it.
    """

    slot: int
    leased: LeasedBundle
    indexes: list[int]
    pending: set[int]
    sent_at: float
    ran_seconds: float = 0.0


class Slots:
    """What runs where: on the agent's own slots, and on those that are lent (lending.py)."""

    def __init__(self, workers: WorkerPool, clock: Clock) -> None:
        self.durations = TaskDurations()
        self.usage = UsageTally(clock)
        self._workers = workers
        self._clock = clock
        self._idle: deque[int] = deque(range(workers.slots))
        self._lending = Lending(workers.slots, clock)
        self._queued: list[list[int]] = [[] for _ in range(2 * workers.slots)]  # serials of each slot's chunks
        self._resting: dict[int, float] = {}  # slots whose workers could not start, and until when (monotonic)
        self._dispatched: dict[int, DispatchedChunk] = {}
        self._over_at = [float("-inf")] * (2 * workers.slots)  # monotonic time at which each slot's last chunk was over
        self._overhead_seconds = 0.0
        self._ran = [""] * (2 * workers.slots)  # the function of each slot's last chunk
        self._serial = 0
        self._checks: list[tuple[float, int]] = []  # (monotonic time, serial): time limits and stragglers
        self._load_failures: dict[str, tuple[Breaker, TaskError]] = {}  # by function

    @property
    def idle(self) -> int:
        """Slots that run nothing."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """Slots that have a task, but for those that are lent."""
        return self._workers.slots - len(self._idle) - self._at_rest

    @property
    def waited(self) -> frozenset[str]:
        """Sessions that tasks here wait for."""
        return self._lending.waited

    @property
    def lendable(self) -> int:
        """Slots that may be lent to sessions that are waited for."""
        return self._lending.lendable

    @property
    def all_wait(self) -> bool:
        """Whether no slot but those that are lent will soon be free."""
        waiting = self._lending.own_waiting
        return waiting > 0 and waiting + self._at_rest == self._workers.slots

    @property
    def stuck_seconds(self) -> float:
        """For how long no worker could start for what tasks wait for, though nothing else can run it; 0 if that is not.

        Those tasks would wait for ever, and whoever waits for them.
        """
        runs_lent = any(serials for slot, serials in enumerate(self._queued) if self._lending.is_lent(slot))
        return 0.0 if runs_lent or not self.all_wait else self._lending.unstarted_seconds

    @property
    def _at_rest(self) -> int:
        return sum(slot < self._workers.slots for slot in self._resting)

    def next_check(self) -> float | None:
        """Monotonic time of the next time limit or straggler to look at."""
        times = [*self._resting.values(), *self._lending.times()]
        if self._checks:
            times.append(self._checks[0][0])
        return min(times, default=None)

    def begun(self, *, with_output: bool) -> tuple[BegunTask, ...] | None:
        """The tasks that workers run now, without what they take of memory; None if they are very many."""
        now, wall = self._clock.monotonic(), self._clock.now()
        found: list[BegunTask] = []
        room = limits.BEGUN_BYTES if with_output else 0
        for slot, serials in enumerate(self._queued):
            running = self._workers.running(slot) if serials else None
            dispatched = None if running is None else self._dispatched.get(running[0])
            if (
                running is None
                or dispatched is None
                or (index := dispatched.indexes[running[1]]) not in dispatched.pending
            ):
                continue
            if len(found) == limits.BEGUN_TASKS:
                return None
            printed = self._workers.printed(slot) if room > 0 else ("", "")
            room -= sum(map(len, printed))
            started_at = wall - max(0.0, now - running[2])
            bundle = dispatched.leased.work.bundle
            found.append(BegunTask(bundle.session_id, index, started_at, *printed, bundle.attempt(index), slot))
        return tuple(found)

    # Handing out

    def dispatch(self, leases: Sequence[LeasedBundle]) -> None:
        """Give idle slots, and slots that soon will be, their next tasks.

        In the order of the leases: while one waits for an idle slot, no later one queues behind what runs, or the slots
        of a session whose durations are known would never be idle for one whose durations are not.
        """
        unstarted = sum([len(leased.unstarted) for leased in leases if not leased.stopping])
        for leased in leases:
            while leased.unstarted and not leased.stopping and not leased.is_full:
                if self._fails_to_load(leased):
                    break
                slot = self._free_slot(leased, unstarted)
                if slot is None:
                    self._lend(leases)
                    return
                unstarted -= self._send(slot, leased)

    def _lend(self, leases: Sequence[LeasedBundle]) -> None:
        """Give slots to what tasks wait for, one for each of these."""
        waited = self.waited if self.lendable else ()
        for leased in leases:
            if leased.key[0] in waited:
                while leased.unstarted and not leased.stopping and not leased.is_full and self.lendable:
                    if self._fails_to_load(leased):
                        break
                    self._send(self._lending.take(), leased)

    def _free_slot(self, leased: LeasedBundle, unstarted: int) -> int | None:
        if self._idle:
            key = leased.function.key
            slot = next((slot for slot in self._idle if self._ran[slot] == key), self._idle[0])  # its worker is warm
            self._idle.remove(slot)
            return slot
        if leased.work.spec.isolation == "task":
            return None  # what runs on a slot ends with its worker
        seconds = self.durations.expected(leased.key[0])
        if seconds is None or seconds > limits.QUEUE_BEHIND_SECONDS:
            return None
        if seconds > limits.CHUNK_SECONDS / 4 and unstarted <= self._workers.slots:
            return None  # the last ones go to whichever slot is free first
        # Queue a second chunk behind a running one, to hide the way there and back. Behind one of the same function,
        # since a worker that is replaced for another environment takes what it runs with it.
        enough = max(limits.CHUNK_SECONDS, 1.5 * seconds)
        for slot, serials in enumerate(self._queued[: self._workers.slots]):
            if len(serials) == 1 and not self._lending.waits(slot):
                dispatched = self._dispatched[serials[0]]
                same = dispatched.leased.function.key == leased.function.key
                if same and len(dispatched.pending) * seconds < enough:
                    return slot
        return None

    def _send(self, slot: int, leased: LeasedBundle) -> int:
        """Hand over the next chunk of a bundle; return how many tasks it has."""
        share = -(-len(leased.unstarted) // self._workers.slots)
        alone = leased.work.spec.isolation == "task"
        indexes = leased.take(1 if alone else min(self.durations.chunk(leased.key[0]), share))
        bundle, events = leased.work.bundle, leased.work.events
        assert events is not None, "a corrupt bundle has no unstarted tasks"
        first, last = indexes[0] - leased.work.first_index, indexes[-1] - leased.work.first_index
        self._serial += 1
        chunk = Chunk(
            serial=self._serial,
            function=leased.function,
            indexes=indexes,
            attempts=bundle.attempts(indexes),
            lengths=events.lengths[first : last + 1],
            data=events.data[leased.offsets[first] : leased.offsets[last + 1]],
            shared=leased.shared,
        )
        now = self._clock.monotonic()
        self._dispatched[chunk.serial] = DispatchedChunk(slot, leased, indexes, set(indexes), now)
        self._queued[slot].append(chunk.serial)
        self._ran[slot] = leased.function.key
        self._workers.run(slot, chunk)
        if leased.work.spec.task_timeout_seconds is not None:
            heapq.heappush(self._checks, (now + leased.work.spec.task_timeout_seconds, chunk.serial))
        if len(indexes) > 1 or len(self._queued[slot]) > 1:
            heapq.heappush(self._checks, (now + limits.REVOKE_AFTER_SECONDS, chunk.serial))
        return len(indexes)

    def _fails_to_load(self, leased: LeasedBundle) -> bool:
        """Whether its function keeps failing to load: its tasks then fail the same way, without more workers."""
        failure = self._load_failures.get(leased.function.key)
        if failure is None or failure[0].allows(self._clock.monotonic()):
            return False
        indexes = list(leased.unstarted)
        leased.unstarted.clear()
        for index in indexes:
            leased.fail(index, failure[1], self._clock.now())
        return True

    # Collecting

    def on_flushed(self, event: Flushed) -> None:
        """A worker reports outcomes."""
        dispatched = self._dispatched.get(event.serial)
        if dispatched is None:
            return  # all of it was taken back
        leased, outcomes = dispatched.leased, event.outcomes
        dispatched.ran_seconds += sum(outcomes.seconds)
        if self._lending.is_lent(dispatched.slot):
            self._lending.started()
        self._load_failures.pop(leased.function.key, None)
        seconds = sum(outcomes.seconds) + outcomes.size / limits.RESULT_BYTES_A_SECOND
        self.durations.record(leased.key[0], seconds / len(outcomes))
        if not dispatched.pending.issuperset(outcomes.indexes):
            outcomes = _only(outcomes, dispatched.pending)  # one was taken back just as it began: another slot has it
        dispatched.pending.difference_update(outcomes.indexes)
        leased.ended(outcomes)
        self._lending.end_if_over(dispatched.slot, event.serial, dispatched.pending)
        self._forget_if_over(event.serial)

    def on_used(self, event: Used) -> None:
        """A worker has measured what tasks used, and tells it before their last outcome."""
        if (dispatched := self._dispatched.get(event.serial)) is not None and dispatched.slot == event.slot:
            self.usage.used(dispatched.leased.work.spec.function.name, event)

    def on_refused(self, event: Refused) -> None:
        """A task whose event nobody can read: another attempt would be the same."""
        dispatched = self._dispatched.get(event.serial)
        if dispatched is not None and event.outcome.index in dispatched.pending:
            dispatched.pending.discard(event.outcome.index)
            dispatched.leased.failed_finally(event.outcome)
            self._forget_if_over(event.serial)

    def on_waits(self, event: Waits) -> None:
        """A task waits for sessions of this grid, or does so no more.

        A slot is lent for it; if there is none any more, no task here could go on if all wait so, and it is told.
        """
        dispatched = self._dispatched.get(event.serial)
        if dispatched is None or dispatched.slot != event.slot or event.position >= len(dispatched.indexes):
            return
        index = dispatched.indexes[event.position]
        if index not in dispatched.pending:
            return  # it has ended
        if not event.session_ids:
            self._lending.end(event.slot)
        elif self._lending.begin(event.slot, Wait(event.serial, index, frozenset(event.session_ids))):
            self._take_back(event.slot)  # what it was given to run next
        else:
            self._workers.refuse(event.slot, event.serial, event.position)

    def on_lost(self, event: WorkerLost) -> None:
        """A worker ended: charge the task that ran, put the others back."""
        charged = None
        if event.running is not None and event.error.type != STOPPED:
            serial, position = event.running
            dispatched = self._dispatched.get(serial)
            if (
                dispatched is not None
                and dispatched.indexes[position] in dispatched.pending
                and not _began_late(event, dispatched)
            ):
                charged = (serial, dispatched.indexes[position])
        if charged is not None:
            dispatched = self._dispatched[charged[0]]
            dispatched.pending.discard(charged[1])
            printed = event.stdout, event.stderr
            dispatched.leased.fail(charged[1], event.error, self._clock.now(), event.seconds, *printed)
        self.release(event.slot)

    def on_load_failed(self, event: LoadFailed) -> None:
        """A function could not be loaded: charged to the first task that wanted it."""
        dispatched = self._dispatched.get(event.serial)
        if dispatched is not None:
            breaker, _ = self._load_failures.get(dispatched.leased.function.key, (Breaker(), event.error))
            breaker.record_failure(self._clock.monotonic())
            self._load_failures[dispatched.leased.function.key] = (breaker, event.error)
            if dispatched.pending:
                index = min(dispatched.pending)
                dispatched.pending.discard(index)
                dispatched.leased.fail(index, event.error, self._clock.now())
        self.release(event.slot)

    def rest(self, slot: int) -> bool:
        """A slot's worker could not start: others take its tasks, and it is tried again later; False if none works."""
        if not any(serials for other, serials in enumerate(self._queued) if other != slot):
            return False
        self.release(slot)
        if self._lending.is_lent(slot):
            rests = self._lending.rest(slot)
        elif rests := slot in self._idle:
            self._idle.remove(slot)
        if rests:
            self._resting[slot] = self._clock.monotonic() + limits.WORKER_REST_SECONDS
        return True

    def release(self, slot: int) -> None:
        """A slot's worker is gone: its tasks without an outcome are unstarted again."""
        for serial in reversed(self._queued[slot]):
            dispatched = self._dispatched.pop(serial)
            dispatched.leased.put_back(sorted(dispatched.pending))
        if self._queued[slot]:
            self._queued[slot].clear()
            self._free(slot)
        self._lending.end(slot)

    def _free(self, slot: int) -> None:
        if self._lending.is_lent(slot):
            self._lending.give_back(slot)
        else:
            self._idle.append(slot)

    def _forget_if_over(self, serial: int) -> None:
        dispatched = self._dispatched[serial]
        if dispatched.pending:
            return
        del self._dispatched[serial]
        self._queued[dispatched.slot].remove(serial)
        self._note_overhead(dispatched)
        if dispatched.leased.work.spec.isolation == "task":
            self._workers.discard(dispatched.slot)
        if not self._queued[dispatched.slot]:
            self._free(dispatched.slot)

    def _note_overhead(self, over: DispatchedChunk) -> None:
        """A chunk waits for the one before it on its slot; the rest of its time that no handler ran is overhead."""
        now = self._clock.monotonic()
        had_seconds = now - max(over.sent_at, self._over_at[over.slot])
        self._overhead_seconds += max(0.0, had_seconds - over.ran_seconds)
        self._over_at[over.slot] = now

    def take_overhead(self) -> float:
        """Seconds for which slots had tasks and ran no handler, since this was last asked."""
        seconds, self._overhead_seconds = self._overhead_seconds, 0.0
        return seconds

    # Time and stopping

    def check(self, now: float) -> None:
        """Kill tasks over their time limit; take back what waits behind a long one; end workers that were lent.

        Slots that have rested long enough are free again.
        """
        for slot in self._lending.unneeded(now):
            self._workers.discard(slot)
        for slot in [slot for slot, until in self._resting.items() if until <= now] if self._resting else ():
            del self._resting[slot]
            if self._lending.is_lent(slot):
                self._lending.rested(slot)
            else:
                self._idle.append(slot)
        while self._checks and self._checks[0][0] <= now:
            _, serial = heapq.heappop(self._checks)
            dispatched = self._dispatched.get(serial)
            if dispatched is not None:
                again = self._check(serial, dispatched, now)
                if again is not None:
                    heapq.heappush(self._checks, (again, serial))

    def _check(self, serial: int, dispatched: DispatchedChunk, now: float) -> float | None:
        """Look at one chunk; return when to look again."""
        running = self._workers.running(dispatched.slot)
        timeout = dispatched.leased.work.spec.task_timeout_seconds
        started = running[2] if running is not None and running[0] == serial else now
        if timeout is not None and now - started >= timeout:
            error = TaskError(TIMEOUT, f"Task timed out after {timeout:g} seconds")
            self._workers.kill(dispatched.slot, error)
            return None
        usual = self.durations.expected(dispatched.leased.key[0]) or 0.0
        if self._idle and running is not None and now - running[2] >= limits.REVOKE_AFTER_SECONDS / 2 + usual:
            self._take_back(dispatched.slot)
        times = []
        if len(dispatched.pending) > 1 or len(self._queued[dispatched.slot]) > 1:
            times.append(now + limits.REVOKE_AFTER_SECONDS)
        if timeout is not None:
            times.append(max(started + timeout, now + 0.001))
        return min(times) if times else None

    def _take_back(self, slot: int) -> None:
        for serial, position in self._workers.revoke(slot):
            dispatched = self._dispatched.get(serial)
            if dispatched is not None:
                taken = [index for index in dispatched.indexes[position:] if index in dispatched.pending]
                dispatched.pending.difference_update(taken)
                dispatched.leased.put_back(taken)
                self._forget_if_over(serial)

    def stop(self, leased: LeasedBundle) -> None:
        """Kill what runs of a bundle; its tasks get no outcome. What else those workers held runs elsewhere."""
        for slot in {dispatched.slot for dispatched in self._dispatched.values() if dispatched.leased is leased}:
            self._workers.kill(slot, TaskError(STOPPED, "its session has ended or its lease is lost"))
        for dispatched in self._dispatched.values():
            if dispatched.leased is leased:
                dispatched.pending.clear()  # the slot is free once the worker's end is reported


def _began_late(event: WorkerLost, dispatched: DispatchedChunk) -> bool:
    """Whether the worker was killed for the time of another task, which ended just then: this one is innocent."""
    timeout = dispatched.leased.work.spec.task_timeout_seconds
    return event.error.type == TIMEOUT and timeout is not None and event.seconds < timeout


def _only(outcomes: Outcomes, wanted: set[int]) -> Outcomes:
    kept = Outcomes()
    for outcome in outcomes:
        if outcome.index in wanted:
            kept.append(outcome)
    return kept
