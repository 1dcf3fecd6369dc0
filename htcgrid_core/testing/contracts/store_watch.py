"""Watching: one session, a hundred in one call, lists of them, and the agents."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SESSION as LIFECYCLE
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.ports.session_store import AgentRecord, BegunTask, SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import eventually
from htcgrid_core.testing.contracts.given import NOW, SESSION

BEGUN = (
    BegunTask(SESSION, 3, NOW - 2.5, "printed", "said", attempt=2, slot=0, memory_bytes=3 << 30),
    BegunTask(SESSION, 7, NOW, attempt=1, slot=11),
    BegunTask("s-other", 0, NOW),
)
AGENT = AgentRecord(
    "agent-1", "default", "node-1", 4711, 8, 3, NOW, begun=BEGUN,
    started_at=NOW - 3600.25, memory_bytes=7 << 30, memory_limit_bytes=1 << 44,
)  # fmt: skip


class WatchContract:
    """session, progress, sessions, live_sessions, beat, agents and forget_agent."""

    def test_unknown(self, store: SessionStore) -> None:
        """No row for no session."""
        with pytest.raises(SessionNotFound):
            store.session(SESSION, NOW)
        assert store.progress([SESSION], NOW) == []
        assert store.progress([], NOW) == []

    def test_progress_answers_in_the_order_asked(self, store: SessionStore) -> None:
        """Unknown ones are left out."""
        rows = {f"s-{number:04d}": given.running(store, [1], f"s-{number:04d}") for number in range(5)}
        asked = ["s-0003", "s-nobody", "s-0000", "s-0004", "s-none"]
        assert store.progress(asked, NOW) == [rows["s-0003"], rows["s-0000"], rows["s-0004"]]

    def test_progress_of_a_hundred_and_no_more(self, store: SessionStore) -> None:
        """PROGRESS_BATCH in one call; more is a mistake of the caller."""
        ids = [f"s-{number:04d}" for number in range(limits.PROGRESS_BATCH)]
        for session_id in ids:
            store.create_session(given.record(session_id))
        assert [row.session_id for row in store.progress(ids[::-1], NOW)] == ids[::-1]
        with pytest.raises(ValueError, match="100"):
            store.progress([*ids, "s-one-more"], NOW)

    def test_progress_sees_every_write_at_once(self, store: SessionStore) -> None:
        """Exact, not about right: what a commit returned is what the next read returns."""
        given.running(store, [2] * 4)
        for number in range(3):
            held = given.claimed(store, f"{number:08d}", f"token-{number}")
            row = store.commit(given.commit(held, [2 * number, 2 * number + 1]))
            assert store.progress([SESSION], NOW) == [row]

    def test_sessions_newest_first(self, store: SessionStore) -> None:
        """Listed by the time of their submission, in pieces that miss and repeat nothing."""
        for number in (3, 0, 6, 1, 5, 2, 4):
            given.running(store, [1], f"s-{number:04d}", submitted_at=NOW + number)
        newest_first = [f"s-{number:04d}" for number in range(6, -1, -1)]

        def ids() -> list[str]:
            return [row.session_id for row in store.sessions(NOW)]

        assert eventually(ids, lambda seen: len(seen) == 7) == newest_first
        pieces: list[str] = []
        before: float | None = None
        while page := store.sessions(NOW, limit=3, before=before):
            assert len(page) <= 3
            pieces += [row.session_id for row in page]
            before = page[-1].submitted_at
        assert pieces == newest_first

    def test_sessions_by_state(self, store: SessionStore) -> None:
        """Any set of states; none given means all. Pieces are full as long as there are more."""
        for number, state in enumerate([*SessionState, *SessionState]):
            given.in_state(store, state, f"s-{number:04d}")

        def states(*wanted: SessionState) -> list[SessionState]:
            return sorted(row.state for row in store.sessions(NOW, states=wanted))

        for state in SessionState:
            assert eventually(partial(states, state), lambda seen: len(seen) == 2) == [state, state]
        some = [SessionState.FAILED, SessionState.RUNNING]
        assert states(*some) == sorted([*some, *some])
        assert states() == sorted([*SessionState, *SessionState])
        assert len(store.sessions(NOW, states=some, limit=3)) == 3

    def test_sessions_are_whole_rows(self, store: SessionStore) -> None:
        """As ``session`` returns them."""
        row = given.running(store)
        assert eventually(lambda: store.sessions(NOW), bool) == [row]
        assert eventually(store.live_sessions, bool) == [row]

    def test_live_sessions(self, store: SessionStore) -> None:
        """Those that have not ended, and no other."""
        for number, state in enumerate(SessionState):
            given.in_state(store, state, f"s-{number:04d}")
        expected = [state for state in SessionState if not LIFECYCLE.is_terminal(state)]

        def live() -> list[SessionState]:
            return sorted(row.state for row in store.live_sessions())

        assert eventually(live, lambda seen: len(seen) == len(expected)) == sorted(expected)

    # Agents

    def test_agents_are_what_they_last_said(self, store: SessionStore) -> None:
        """One row each, replaced by each beat."""
        other = replace(AGENT, agent_id="agent-2", pool="large", problem="no workers")
        store.beat(AGENT)
        store.beat(other)
        newer = replace(AGENT, busy=8, beat_at=NOW + 5)
        store.beat(newer)

        def agents() -> list[AgentRecord]:
            return sorted(store.agents(NOW + 5), key=lambda agent: agent.agent_id)

        assert eventually(agents, lambda seen: seen == [newer, other]) == [newer, other]

    def test_what_an_agent_does_not_tell_is_unknown(self, store: SessionStore) -> None:
        """And not 0: it may be of a release that did not know of it. What it does tell stands beside that."""
        silent = AgentRecord("agent-1", "default", "node-1", 4711, 8, 3, NOW)
        knows = replace(silent, agent_id="agent-2", started_at=NOW, memory_limit_bytes=1 << 30)
        store.beat(silent)
        store.beat(knows)

        def agents() -> list[AgentRecord]:
            return sorted(store.agents(NOW), key=lambda agent: agent.agent_id)

        assert eventually(agents, lambda seen: len(seen) == 2) == [silent, knows]
        store.beat(replace(AGENT, beat_at=NOW + 1))
        store.beat(replace(silent, beat_at=NOW + 2))
        last = eventually(agents, lambda seen: seen[0].beat_at == NOW + 2)[0]
        assert (last.started_at, last.memory_bytes, last.memory_limit_bytes) == (None, None, None)

    def test_agents_that_are_silent_are_not_listed(self, store: SessionStore) -> None:
        """Heard of within one lease time, or not there."""
        store.beat(AGENT)
        assert eventually(lambda: store.agents(NOW + limits.LEASE_SECONDS - 1), bool) == [AGENT]
        assert store.agents(NOW + limits.LEASE_SECONDS + 1) == []

    def test_agents_that_left_are_not_listed(self, store: SessionStore) -> None:
        """At once; leaving twice, or without ever having come, is no error."""
        store.beat(AGENT)
        store.beat(replace(AGENT, agent_id="agent-2"))
        for _ in range(2):
            store.forget_agent("agent-1")
        store.forget_agent("agent-nobody")
        assert eventually(
            lambda: [agent.agent_id for agent in store.agents(NOW)], lambda seen: seen == ["agent-2"]
        ) == ["agent-2"]
