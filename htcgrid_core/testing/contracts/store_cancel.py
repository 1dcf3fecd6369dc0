"""Ends: what a terminal state does to counters, bundles and leases."""

from __future__ import annotations

import pytest

from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.ports.session_store import SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, eventually
from htcgrid_core.testing.contracts.given import FULL_PAGE, LEASE, NOW, SESSION

ENDS = [
    [SessionEvent.FAIL],
    [SessionEvent.COMPLETE],
    [SessionEvent.CANCEL, SessionEvent.DRAIN],
]


class CancelContract:
    """advance into a terminal state, and has_live_lease."""

    @pytest.mark.parametrize("events", ENDS)
    def test_the_end_counts_the_rest_as_cancelled(self, store: SessionStore, events: list[SessionEvent]) -> None:
        """The counters add up to the total, in the same write, whatever was ready, leased or delayed."""
        given.running(store, [4, 2, 2], tolerated=9, retention_seconds=1000.0)
        held = given.claimed(store, root_id(0))
        store.commit(given.commit(held, [0], [1], given.child(held, 0, [2, 3], not_before=NOW + 9)))
        given.claimed(store, root_id(1), "running")
        for event in events:
            row = store.advance(SESSION, event, now=NOW + 7, actor="tester", reason="because")
        assert (row.counters.completed, row.counters.failed, row.counters.cancelled) == (1, 1, 6)
        assert (row.ended_at, row.expires_at) == (NOW + 7, NOW + 1007)
        assert row.ended
        assert_counters_exact(store)

    @pytest.mark.parametrize("events", ENDS)
    def test_nothing_is_left_to_do(self, store: SessionStore, events: list[SessionEvent]) -> None:
        """No open bundle, nothing runnable, no live lease, nothing for the reconciler."""
        given.running(store)
        given.claimed(store, root_id(1), "running")
        for event in events:
            store.advance(SESSION, event, now=NOW, actor="tester")
        later = NOW + LEASE + 1
        assert store.open_bundles(SESSION, "", FULL_PAGE) == []
        assert eventually(lambda: store.runnable(SESSION, later, FULL_PAGE), lambda hints: not hints) == []
        assert not eventually(lambda: store.has_live_lease(SESSION, NOW), lambda found: not found)
        assert eventually(store.live_sessions, lambda live: not live) == []

    def test_a_large_session_ends_as_a_small_one(self, store: SessionStore) -> None:
        """All of many bundles are closed."""
        sizes = [1] * 300
        store.create_session(given.record())
        for at in range(0, len(sizes), 50):
            store.put_bundles(SESSION, given.roots(sizes)[at : at + 50], NOW)
        store.acknowledge(SESSION, bundles=300, digest="", tolerated=None, now=NOW)
        row = store.advance(SESSION, SessionEvent.CANCEL, now=NOW, actor="tester")
        assert row.counters.pending == 300
        row = store.advance(SESSION, SessionEvent.DRAIN, now=NOW, actor="tester")
        assert row.counters.cancelled == 300
        assert store.open_bundles(SESSION, "", FULL_PAGE) == []

    def test_the_reason_is_kept(self, store: SessionStore) -> None:
        """Why it ended stands in the row."""
        given.running(store)
        row = store.advance(SESSION, SessionEvent.FAIL, now=NOW, actor="tester", reason="its deadline passed")
        assert (row.state, row.reason) == (SessionState.FAILED, "its deadline passed")

    def test_the_end_of_one_is_not_the_end_of_another(self, store: SessionStore) -> None:
        """Sessions do not touch each other."""
        given.running(store)
        other = given.running(store, session_id="s-other")
        store.advance(SESSION, SessionEvent.FAIL, now=NOW, actor="tester")
        assert store.session("s-other", NOW) == other
        given.claimed(store, root_id(0), session_id="s-other")

    def test_live_lease(self, store: SessionStore) -> None:
        """From the claim until the commit, the lapse or the renewed end; a ready bundle has none."""
        given.running(store)
        assert not store.has_live_lease(SESSION, NOW)
        held = given.claimed(store, root_id(0))
        assert store.has_live_lease(SESSION, NOW + LEASE - 1)
        assert not store.has_live_lease(SESSION, NOW + LEASE + 1)
        goes_on = given.continuation(held, 0, [1])
        store.commit(given.commit(held, [0], [], goes_on))
        assert store.has_live_lease(SESSION, NOW)
        store.commit(given.commit(goes_on, [1]))
        assert not store.has_live_lease(SESSION, NOW)
        assert not store.has_live_lease("s-nobody", NOW)

    def test_only_its_owner_ends_it(self, store: SessionStore) -> None:
        """What is left of an earlier attempt cannot cancel the session of a newer one."""
        given.running(store)
        assert store.session(SESSION, NOW).owner == ""
        assert store.adopt(SESSION, "first", NOW + 1).owner == "first"
        adopted = store.adopt(SESSION, "second", NOW + 2)
        assert adopted == store.session(SESSION, NOW)
        stale = store.advance(SESSION, SessionEvent.CANCEL, now=NOW + 3, actor="tester", owner="first")
        assert stale == adopted
        row = store.advance(SESSION, SessionEvent.CANCEL, now=NOW + 4, actor="tester", owner="second")
        assert (row.state, row.owner) == (SessionState.CANCELLING, "second")

    def test_without_an_owner_anybody_ends_it(self, store: SessionStore) -> None:
        """A cancel that is not fenced asks for nothing; one that is, is refused by a session that nobody owns."""
        given.running(store)
        refused = store.advance(SESSION, SessionEvent.CANCEL, now=NOW, actor="tester", owner="first")
        assert refused.state is SessionState.RUNNING
        store.adopt(SESSION, "first", NOW)
        row = store.advance(SESSION, SessionEvent.CANCEL, now=NOW, actor="tester")
        assert row.state is SessionState.CANCELLING

    def test_adopting_what_is_not_live(self, store: SessionStore) -> None:
        """One that has ended keeps its owner, one that is being cancelled takes a new one, an unknown one is none."""
        given.running(store)
        store.adopt(SESSION, "first", NOW)
        store.advance(SESSION, SessionEvent.CANCEL, now=NOW, actor="tester")
        assert store.adopt(SESSION, "second", NOW).state is SessionState.CANCELLING
        ended = store.advance(SESSION, SessionEvent.DRAIN, now=NOW, actor="tester")
        assert store.adopt(SESSION, "third", NOW) == ended
        assert ended.owner == "second"
        with pytest.raises(SessionNotFound):
            store.adopt("s-nobody", "first", NOW)
