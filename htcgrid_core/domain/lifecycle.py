"""The lifecycles of sessions and tasks, as one table.

The docs' diagrams are drawn from it, the stores take their conditions from it, and an event that it does
not list raises and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Generic, TypeVar

from htcgrid_core.domain.errors import IllegalTransition


class SessionState(StrEnum):
    """Where a session is in its life."""

    SUBMITTED = "SUBMITTED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class SessionEvent(StrEnum):
    """What can happen to a session."""

    ACKNOWLEDGE = "acknowledge"  # every bundle is written
    ABORT = "abort"  # the submitter gave up or vanished
    CANCEL = "cancel"  # somebody asked for its end
    DRAIN = "drain"  # no agent holds a live lease on a cancelled session any more
    COMPLETE = "complete"  # every task ended, failures within the threshold
    FAIL = "fail"  # too many failures, or the deadline passed


class TaskState(StrEnum):
    """Where a task is in its life."""

    SUBMITTED = "SUBMITTED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    RETRY = "RETRY"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class TaskEvent(StrEnum):
    """What can happen to a task."""

    ENQUEUE = "enqueue"  # its session is acknowledged
    START = "start"  # a worker of the agent that leased its bundle began it
    RELEASE = "release"  # handed back unfinished: split, drain, lapsed lease
    RETRY = "retry"  # failed with attempts left
    SUCCEED = "succeed"  # the handler returned
    FAIL = "fail"  # failed with no attempt left
    CANCEL = "cancel"  # its session was cancelled, failed or timed out


S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class Lifecycle(Generic[S, E]):
    """A table of transitions: (state, event) to the next state."""

    name: str
    initial: S
    table: Mapping[tuple[S, E], S]

    def advance(self, state: S, event: E) -> S:
        """Return the state after ``event``.

        Raises:
            IllegalTransition: the table has no such transition.
        """
        try:
            return self.table[state, event]
        except KeyError:
            raise IllegalTransition(f"a {self.name} that is {state} cannot {event}") from None

    def sources(self, event: E) -> tuple[S, ...]:
        """The states in which ``event`` may happen: the condition of the write that records it."""
        return tuple(state for state, known in self.table if known == event)

    def target(self, event: E) -> S:
        """The one state that ``event`` leads to, whatever the source."""
        (target,) = {after for (_, known), after in self.table.items() if known == event}
        return target

    @cached_property
    def live(self) -> frozenset[S]:
        """The states in which something may still happen."""
        return frozenset(state for state, _ in self.table)

    def is_terminal(self, state: S) -> bool:
        """Whether no event can happen any more."""
        return state not in self.live


SESSION: Lifecycle[SessionState, SessionEvent] = Lifecycle(
    "session",
    SessionState.SUBMITTED,
    {
        (SessionState.SUBMITTED, SessionEvent.ACKNOWLEDGE): SessionState.RUNNING,
        (SessionState.SUBMITTED, SessionEvent.ABORT): SessionState.CANCELLED,
        (SessionState.SUBMITTED, SessionEvent.CANCEL): SessionState.CANCELLING,
        (SessionState.RUNNING, SessionEvent.CANCEL): SessionState.CANCELLING,
        (SessionState.RUNNING, SessionEvent.COMPLETE): SessionState.COMPLETED,
        (SessionState.RUNNING, SessionEvent.FAIL): SessionState.FAILED,
        (SessionState.CANCELLING, SessionEvent.DRAIN): SessionState.CANCELLED,
    },
)

TASK: Lifecycle[TaskState, TaskEvent] = Lifecycle(
    "task",
    TaskState.SUBMITTED,
    {
        (TaskState.SUBMITTED, TaskEvent.ENQUEUE): TaskState.QUEUED,
        (TaskState.SUBMITTED, TaskEvent.START): TaskState.RUNNING,  # a session may start while it is written
        (TaskState.QUEUED, TaskEvent.START): TaskState.RUNNING,
        (TaskState.RETRY, TaskEvent.START): TaskState.RUNNING,
        (TaskState.RUNNING, TaskEvent.RELEASE): TaskState.QUEUED,
        (TaskState.RUNNING, TaskEvent.RETRY): TaskState.RETRY,
        (TaskState.RUNNING, TaskEvent.SUCCEED): TaskState.COMPLETED,
        (TaskState.RUNNING, TaskEvent.FAIL): TaskState.FAILED,
        (TaskState.SUBMITTED, TaskEvent.CANCEL): TaskState.CANCELLED,
        (TaskState.QUEUED, TaskEvent.CANCEL): TaskState.CANCELLED,
        (TaskState.RUNNING, TaskEvent.CANCEL): TaskState.CANCELLED,
        (TaskState.RETRY, TaskEvent.CANCEL): TaskState.CANCELLED,
    },
)

LIVE_SESSION_STATES: tuple[SessionState, ...] = tuple(s for s in SessionState if s in SESSION.live)
