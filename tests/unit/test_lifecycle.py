"""Both lifecycles are one table each; what it does not list raises."""

from __future__ import annotations

from enum import StrEnum
from itertools import product
from typing import Any

import pytest

from htcgrid_core.domain.errors import IllegalTransition
from htcgrid_core.domain.lifecycle import (
    LIVE_SESSION_STATES,
    SESSION,
    TASK,
    Lifecycle,
    SessionEvent,
    SessionState,
    TaskEvent,
    TaskState,
)

S, E = SessionState, SessionEvent
T, V = TaskState, TaskEvent

# Written out by hand and compared with the table, so that a change of the table is a decision.
SESSION_MOVES = {
    S.SUBMITTED: {E.ACKNOWLEDGE: S.RUNNING, E.ABORT: S.CANCELLED, E.CANCEL: S.CANCELLING},
    S.RUNNING: {E.CANCEL: S.CANCELLING, E.COMPLETE: S.COMPLETED, E.FAIL: S.FAILED},
    S.CANCELLING: {E.DRAIN: S.CANCELLED},
    S.COMPLETED: {},
    S.FAILED: {},
    S.CANCELLED: {},
}
TASK_MOVES = {
    T.SUBMITTED: {V.ENQUEUE: T.QUEUED, V.START: T.RUNNING, V.CANCEL: T.CANCELLED},
    T.QUEUED: {V.START: T.RUNNING, V.CANCEL: T.CANCELLED},
    T.RUNNING: {
        V.RELEASE: T.QUEUED, V.RETRY: T.RETRY, V.SUCCEED: T.COMPLETED, V.FAIL: T.FAILED, V.CANCEL: T.CANCELLED,
    },
    T.RETRY: {V.START: T.RUNNING, V.CANCEL: T.CANCELLED},
    T.COMPLETED: {},
    T.FAILED: {},
    T.CANCELLED: {},
}  # fmt: skip
CASES: list[tuple[Lifecycle[Any, Any], Any, Any, Any]] = [
    *((SESSION, state, event, SESSION_MOVES[state].get(event)) for state, event in product(S, E)),
    *((TASK, state, event, TASK_MOVES[state].get(event)) for state, event in product(T, V)),
]
LIFECYCLES: list[Lifecycle[Any, Any]] = [SESSION, TASK]


@pytest.mark.parametrize(("lifecycle", "state", "event", "after"), CASES)
def test_every_state_and_event(
    lifecycle: Lifecycle[Any, Any], state: StrEnum, event: StrEnum, after: StrEnum | None
) -> None:
    if after is None:
        with pytest.raises(IllegalTransition, match=f"{state} cannot {event}"):
            lifecycle.advance(state, event)
    else:
        assert lifecycle.advance(state, event) is after
        assert state in lifecycle.sources(event)


@pytest.mark.parametrize("lifecycle", LIFECYCLES)
def test_every_state_is_reached_and_every_life_ends(lifecycle: Lifecycle[Any, Any]) -> None:
    states: Any = type(lifecycle.initial)
    reached = {lifecycle.initial}
    while more := {after for (before, _), after in lifecycle.table.items() if before in reached} - reached:
        reached |= more
    assert reached == set(states)
    ending = {state for state in states if lifecycle.is_terminal(state)}
    while more := {before for (before, _), after in lifecycle.table.items() if after in ending} - ending:
        ending |= more
    assert ending == set(states)


@pytest.mark.parametrize("lifecycle", LIFECYCLES)
def test_terminal_states(lifecycle: Lifecycle[Any, Any]) -> None:
    states = type(lifecycle.initial)
    assert {state.value for state in states if lifecycle.is_terminal(state)} == {"COMPLETED", "FAILED", "CANCELLED"}


@pytest.mark.parametrize("event", SessionEvent)
def test_an_event_leads_to_one_state_only(event: SessionEvent) -> None:
    """What makes a repeated event recognisable: the session is already where it leads."""
    assert {SESSION.table[state, event] for state in SESSION.sources(event)} == {SESSION.target(event)}


def test_live_states() -> None:
    assert set(LIVE_SESSION_STATES) == {S.SUBMITTED, S.RUNNING, S.CANCELLING}
