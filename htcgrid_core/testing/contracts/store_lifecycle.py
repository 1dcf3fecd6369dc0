"""The lifecycle: every state x every event, from the table."""

from __future__ import annotations

import itertools

import pytest

from htcgrid_core.domain.audit import actor_text
from htcgrid_core.domain.errors import IllegalTransition
from htcgrid_core.domain.lifecycle import SESSION as LIFECYCLE
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.ports.session_store import SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, assert_history_chains, everything
from htcgrid_core.testing.contracts.given import NOW, SESSION


class LifecycleContract:
    """advance and history."""

    @pytest.mark.parametrize("event", SessionEvent)
    @pytest.mark.parametrize("state", SessionState)
    def test_every_state_and_event(self, store: SessionStore, state: SessionState, event: SessionEvent) -> None:
        """Legal: the next state, and one line of history. Illegal: IllegalTransition. Else: the row as it is."""
        given.in_state(store, state)
        before = everything(store)
        is_there = LIFECYCLE.is_terminal(state) or state is LIFECYCLE.target(event)
        if not is_there and (state, event) not in LIFECYCLE.table:
            with pytest.raises(IllegalTransition):
                store.advance(SESSION, event, now=NOW + 5, actor="tester", reason="because")
            assert everything(store) == before
            return
        row = store.advance(SESSION, event, now=NOW + 5, actor="tester", reason="because")
        after = everything(store)
        assert row == after.record
        if is_there:
            assert after == before
            return
        assert row.state is LIFECYCLE.table[state, event]
        assert row.updated_at == NOW + 5
        assert after.history[:-1] == before.history
        entry = after.history[-1]
        assert (entry.at, entry.session_id, entry.actor, entry.event) == (NOW + 5, SESSION, "tester", event)
        assert (entry.before, entry.after, entry.detail) == (state, row.state, "because")
        assert (after.pages, after.blocks) == (before.pages, before.blocks)
        if not LIFECYCLE.is_terminal(row.state):
            assert (row.counters, after.open_bundles) == (before.record.counters, before.open_bundles)
            assert (row.ended_at, row.expires_at) == (None, None)
        assert_counters_exact(store)
        assert_history_chains(store)

    @pytest.mark.parametrize("event", SessionEvent)
    def test_every_event_twice(self, store: SessionStore, event: SessionEvent) -> None:
        """A lost reply is followed by the same call: the same row, and one line of history."""
        source = LIFECYCLE.sources(event)[-1]
        given.in_state(store, source)
        row = store.advance(SESSION, event, now=NOW, actor="tester", reason="because")
        before = everything(store)
        assert store.advance(SESSION, event, now=NOW + 1, actor="tester", reason="because") == row
        assert everything(store) == before

    @pytest.mark.parametrize("event", SessionEvent)
    def test_no_event_makes_a_session(self, store: SessionStore, event: SessionEvent) -> None:
        """An unknown id stays unknown: no ghost rows."""
        with pytest.raises(LookupError):
            store.advance(SESSION, event, now=NOW, actor="tester")
        assert store.progress([SESSION], NOW) == []
        assert store.history(SESSION) == []

    def test_history_tells_who_did_what(self, store: SessionStore) -> None:
        """Oldest first, every transition once, from the submission to the end."""
        given.running(store)
        ada = actor_text("ada@desk", "192.0.2.7")
        store.advance(SESSION, SessionEvent.CANCEL, now=NOW + 1, actor=ada, reason="wrong book")
        store.advance(SESSION, SessionEvent.DRAIN, now=NOW + 2, actor="reconciler", reason="wrong book")
        entries = store.history(SESSION)
        assert [entry.after for entry in entries] == [
            SessionState.SUBMITTED, SessionState.RUNNING, SessionState.CANCELLING, SessionState.CANCELLED,
        ]  # fmt: skip
        assert [(entry.actor, entry.address, entry.at, entry.detail) for entry in entries[2:]] == [
            ("ada@desk", "192.0.2.7", NOW + 1, "wrong book"),
            ("reconciler", "", NOW + 2, "wrong book"),
        ]
        assert_history_chains(store)

    def test_history_only_grows(self, store: SessionStore) -> None:
        """Whatever else is done to a session, what was written stays as it was."""
        seen = []
        given.submitted(store)
        seen.append(store.history(SESSION))
        given.claimed(store, "00000000")
        seen.append(store.history(SESSION))
        store.acknowledge(SESSION, bundles=3, digest="", tolerated=None, now=NOW)
        seen.append(store.history(SESSION))
        store.advance(SESSION, SessionEvent.FAIL, now=NOW, actor="tester", reason="too slow")
        seen.append(store.history(SESSION))
        store.advance(SESSION, SessionEvent.CANCEL, now=NOW, actor="tester", reason="too late")
        seen.append(store.history(SESSION))
        for earlier, later in itertools.pairwise(seen):
            assert later[: len(earlier)] == earlier
        assert seen[-1] == seen[-2]

    def test_history_of_no_session(self, store: SessionStore) -> None:
        """Empty."""
        assert store.history(SESSION) == []
