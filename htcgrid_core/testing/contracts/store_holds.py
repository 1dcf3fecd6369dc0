"""Legal holds: what is held outlives its retention, whoever deletes, and is deleted as before once it is released."""

from __future__ import annotations

import pytest

from htcgrid_core.domain.errors import InvalidInput, SessionHeld, SessionNotFinished, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.ports.session_store import SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import eventually
from htcgrid_core.testing.contracts.given import FULL_PAGE, NOW, SESSION

RETENTION = 1000.0
PAST = NOW + RETENTION + 1
LATER = NOW + 10**8
WHY = "case 2026-17"


def _ended(store: SessionStore, session_id: str = SESSION) -> None:
    given.running(store, [2, 2], session_id, retention_seconds=RETENTION)
    held = given.claimed(store, "00000000", session_id=session_id)
    store.commit(given.commit(held, [0, 1]))
    store.advance(session_id, SessionEvent.FAIL, now=NOW, actor="tester", reason="because")


class HoldsContract:
    """hold and release, and what those who delete do to a session that is held."""

    def test_outlives_its_retention(self, store: SessionStore) -> None:
        """Its row, events and pages are there long after; another beside it expires."""
        _ended(store)
        _ended(store, "s-other")
        pages = store.outcome_pages(SESSION, 0, FULL_PAGE)
        held = store.hold(SESSION, NOW + 1, actor="alice", reason=WHY)
        assert (held.held, held.expires_at) == (WHY, None)
        assert eventually(lambda: given.expired(store, LATER, FULL_PAGE), bool) == ["s-other"]
        assert given.expired(store, LATER, FULL_PAGE) == []
        assert store.session(SESSION, LATER) == held
        assert [row.session_id for row in store.sessions(LATER)] == [SESSION]
        assert store.outcome_pages(SESSION, 0, FULL_PAGE) == pages
        assert len(store.blocks(SESSION, 0, FULL_PAGE)) == 2

    def test_is_not_deleted_by_hand(self, store: SessionStore) -> None:
        """Whoever asks is told why, and nothing is gone."""
        _ended(store)
        row = store.hold(SESSION, NOW + 1, actor="alice", reason=WHY)
        with pytest.raises(SessionHeld, match=WHY):
            store.delete(SESSION, row.folder, NOW + 2, actor="bob")
        assert store.session(SESSION, NOW + 2) == row
        assert len(store.blocks(SESSION, 0, FULL_PAGE)) == 2

    def test_is_released(self, store: SessionStore) -> None:
        """As if it had never been held: it expires when it would have, or may be deleted before."""
        _ended(store)
        before = store.session(SESSION, NOW)
        store.hold(SESSION, NOW + 1, actor="alice", reason=WHY)
        released = store.release(SESSION, NOW + 2, actor="alice", reason="closed")
        assert (released.held, released.expires_at) == ("", before.expires_at)
        assert given.expired(store, PAST - 2, FULL_PAGE) == []
        assert eventually(lambda: given.expired(store, PAST, FULL_PAGE), bool) == [SESSION]

    def test_is_gone_if_it_is_released_late(self, store: SessionStore) -> None:
        """Its retention has passed meanwhile."""
        _ended(store)
        store.hold(SESSION, NOW + 1, actor="alice", reason=WHY)
        store.release(SESSION, LATER, actor="alice")
        with pytest.raises(SessionNotFound):
            store.session(SESSION, LATER)
        assert eventually(lambda: given.expired(store, LATER, FULL_PAGE), bool) == [SESSION]

    def test_again_is_no_other(self, store: SessionStore) -> None:
        """Repeated, as after a lost reply: the first reason stays, and the history has each once."""
        _ended(store)
        for reason in (WHY, "another"):
            assert store.hold(SESSION, NOW + 1, actor="alice", reason=reason).held == WHY
        for _ in range(2):
            assert store.release(SESSION, NOW + 2, actor="bob", reason="closed").held == ""
        told = [(one.event, one.actor, one.detail) for one in store.history(SESSION)][-2:]
        assert told == [("hold", "alice", WHY), ("release", "bob", "closed")]
        assert store.hold(SESSION, NOW + 3, actor="alice", reason="again").held == "again"

    def test_only_what_has_ended(self, store: SessionStore) -> None:
        """And was submitted whole, and has not expired."""
        row = given.running(store)
        with pytest.raises(SessionNotFinished, match="RUNNING"):
            store.hold(SESSION, NOW, actor="alice", reason=WHY)
        assert store.session(SESSION, NOW) == row
        given.submitted(store, session_id="s-aborted")
        store.advance("s-aborted", SessionEvent.ABORT, now=NOW, actor="tester")
        with pytest.raises(InvalidInput, match="never submitted whole"):
            store.hold("s-aborted", NOW, actor="alice", reason=WHY)
        _ended(store, "s-past")
        for gone in ("s-past", "s-unknown"):
            with pytest.raises(SessionNotFound):
                store.hold(gone, PAST, actor="alice", reason=WHY)
