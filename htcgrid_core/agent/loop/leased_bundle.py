"""A bundle that an agent holds: which of its tasks are unstarted, running and done."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from htcgrid_core.agent.loop.usage_tally import UsageTally
from htcgrid_core.codecs.failed_attempts import FailedAttempts
from htcgrid_core.codecs.outcomes import Outcome, Outcomes, decode_error, encode_error
from htcgrid_core.domain import limits
from htcgrid_core.domain.bundle import Child
from htcgrid_core.domain.errors import GridError
from htcgrid_core.domain.lease import LeaseClock
from htcgrid_core.domain.log_context import LogContext
from htcgrid_core.domain.task_error import TaskError, ran_out_of_memory
from htcgrid_core.ports.bundle_queue import Message
from htcgrid_core.ports.traces import FailedAttempt, LeaseTimes
from htcgrid_core.ports.worker import FunctionRef
from htcgrid_core.services.claim import Work

_log = logging.getLogger(__name__)

# Kinds of failures by the types of errors that agents and workers, and no handler, give them.
KINDS = {"TaskTimeout": "timeout", "WorkerCrashed": "worker", "InitError": "load"}
TYPE_CHARACTERS = 256  # of an error's type that the log tells: a handler may have named it


@dataclass(frozen=True, slots=True)
class PlannedCommit:
    """A commit as it was planned: repeated as it is until its fate is known.

    Attributes:
        continuation: the child that stays with this agent, if any.
        attempts: what tasks that failed and run again said, packed.
        retried: tasks among the children that failed and run again, by the kind of failure.
        failures: the first failed attempts, those that run again included.
        began_at: wall-clock time at which it was planned.
        planned_at: monotonic time from which its lease counts.
    """

    outcomes: Outcomes
    children: tuple[Child, ...]
    continuation: Child | None
    planned_at: float
    retried: Mapping[str, int] = field(default_factory=dict)
    attempts: bytes | None = None
    failures: tuple[FailedAttempt, ...] = ()
    began_at: float = 0.0


@dataclass(slots=True, eq=False)
class LeasedBundle:
    """One lease and the tasks under it.

    Attributes:
        clock: how long the lease may be trusted.
        times: when it was claimed.
        message: the queue's, deleted with the commit.
        offsets: where each event begins in the block.
        shared: file of each shared input, by its name.
        corrupt: why its tasks cannot be run, if so.
        failure: why what they need could not be fetched now, if so.
        slice_at: monotonic time at which what is done is committed.
        unstarted: tasks that no slot has been given.
        running: tasks that a slot has been given; it may run them one after another.
        outcomes: of tasks that ended.
        retries: tasks that failed with attempts left, with their failures so far.
        moved: those of them that go on in the pool that their session names for what runs out of memory.
        failed: what those said.
        retried: how many of them there are, by the kind of failure.
        stopping: it gets no slots any more.
        failures_logged: failed attempts that the log has a line of.
        first_failures: those of them that no commit has told of yet, for traces.
        planned: the commit whose fate is not known yet; what ends meanwhile belongs to its continuation.
        committing: it is under way.
        usage: told of tasks that ran out of memory.
    """

    work: Work
    function: FunctionRef
    clock: LeaseClock
    times: LeaseTimes
    message: Message | None
    offsets: list[int]
    shared: dict[str, str]
    corrupt: str = ""
    failure: GridError | None = None
    slice_at: float = float("inf")
    unstarted: deque[int] = field(default_factory=deque)
    running: set[int] = field(default_factory=set)
    outcomes: Outcomes = field(default_factory=Outcomes)
    retries: dict[int, int] = field(default_factory=dict)
    moved: set[int] = field(default_factory=set)
    failed: FailedAttempts = field(default_factory=FailedAttempts)
    retried: Counter[str] = field(default_factory=Counter)
    stopping: bool = False
    failures_logged: int = 0
    first_failures: list[FailedAttempt] = field(default_factory=list)
    planned: PlannedCommit | None = None
    committing: bool = False
    usage: UsageTally | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Session and bundle."""
        return self.work.bundle.session_id, self.work.bundle.bundle_id

    @property
    def pool(self) -> str:
        """Where it queued."""
        return self.work.bundle.pool or self.work.session.pool

    @property
    def log_context(self) -> LogContext:
        """For lines of the log."""
        session_id, bundle_id = self.key
        spec, epoch = self.work.spec, self.work.lease.epoch
        return LogContext(
            session=session_id,
            bundle=bundle_id,
            trace_id=lambda: spec.trace(session_id).trace_id,
            span_id=lambda: spec.trace(session_id).bundle(session_id, bundle_id, epoch).span_id,
        )

    @property
    def suspect(self) -> bool:
        """Whether agents have died with its task so often that the next death is its last."""
        return self.work.bundle.crashes >= limits.CRASHES_BEFORE_ISOLATION

    @property
    def done(self) -> bool:
        """Whether every task has ended for this lease."""
        return not self.unstarted and not self.running

    @property
    def is_full(self) -> bool:
        """Whether so many results wait for the commit under way that no more tasks should begin before it is over."""
        return self.planned is not None and self.outcomes.size >= limits.UNCOMMITTED_BYTES

    def take(self, count: int) -> list[int]:
        """The next unstarted tasks, at most ``count``, that stand one behind another in the block."""
        taken = [self.unstarted.popleft()]
        while len(taken) < count and self.unstarted and self.unstarted[0] == taken[-1] + 1:
            taken.append(self.unstarted.popleft())
        self.running.update(taken)
        return taken

    def put_back(self, indexes: Iterable[int]) -> None:
        """Tasks that were handed to a slot and did not begin there, ascending."""
        returned = [index for index in indexes if index in self.running]
        self.running.difference_update(returned)
        self.unstarted.extendleft(reversed(returned))

    def ended(self, outcomes: Outcomes) -> None:
        """Take over outcomes; failures with attempts left become retries."""
        self.running.difference_update(outcomes.indexes)
        if not outcomes.failures:
            if self.outcomes:
                self.outcomes.extend(outcomes)
            else:
                self.outcomes = outcomes
            return
        for outcome in outcomes:
            if not (outcome.failed and self._retried(outcome)):
                self.outcomes.append(outcome)

    def fail(
        self, index: int, error: TaskError, now: float, seconds: float = 0.0, stdout: str = "", stderr: str = ""
    ) -> None:
        """A task failed without its worker saying so.

        Args:
            now: wall clock.
            seconds: how long it ran.
        """
        alone = Outcomes()
        attempt = self.work.bundle.attempt(index)
        alone.append(Outcome(index, True, attempt, now - seconds, seconds, encode_error(error), stdout, stderr))
        self.ended(alone)

    def failed_finally(self, outcome: Outcome) -> None:
        """A task failed, and would fail again."""
        self.running.discard(outcome.index)
        self.outcomes.append(outcome)
        self._log_failure(outcome, decode_error(outcome.payload).type, is_retried=False)

    def fail_finally(self, error: TaskError, now: float) -> None:
        """No attempt can help: every task is FAILED."""
        for index in self.work.bundle.indexes:
            attempts = self.work.bundle.attempt(index) - 1
            self.outcomes.append(Outcome(index, True, attempts, now, 0.0, encode_error(error), "", ""))

    def _retried(self, outcome: Outcome) -> bool:
        failures = self.work.bundle.failures.get(outcome.index, 0) + 1
        error = decode_error(outcome.payload)
        retry = self.work.spec.retry
        if ran_out_of_memory(error.type) and self.usage is not None:
            self.usage.ran_out(self.work.spec.function.name, self.work.spec.memory_mb or 0)
        moves = retry.moves_from(self.pool, error.type)
        is_retried = moves or retry.allows(failures, error.type)
        self._log_failure(outcome, error.type, is_retried=is_retried)
        if not is_retried:
            return False
        self.retries[outcome.index] = failures
        self.retried[KINDS.get(error.type, "error")] += 1
        if moves:
            self.moved.add(outcome.index)
        self.failed.add(outcome, error, self.work.lease.owner)
        return True

    def _log_failure(self, outcome: Outcome, error_type: str, *, is_retried: bool) -> None:
        """A line and a span for each of the first failures. Not what the error says: it may be a part of the event."""
        self.failures_logged += 1
        if self.failures_logged > limits.FIRST_ERRORS:
            return
        error, seconds = error_type[:TYPE_CHARACTERS], outcome.seconds
        self.first_failures.append(
            FailedAttempt(outcome.index, outcome.attempt, outcome.started, seconds, error, is_retried)
        )
        span = self.work.spec.trace(self.key[0]).attempt(self.key[0], outcome.index, outcome.attempt)
        with self.log_context:
            _log.info(
                "an attempt failed",
                extra={
                    "task": outcome.index,
                    "attempt": outcome.attempt,
                    "span_id": span.span_id,
                    "error": error,
                    "seconds": round(seconds, 3),
                    "is_retried": is_retried,
                },
            )
