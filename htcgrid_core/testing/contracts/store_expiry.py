"""Expiry: what has passed its retention is hidden at once and deleted in time."""

from __future__ import annotations

import pytest

from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.ports.session_store import SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import eventually
from htcgrid_core.testing.contracts.given import FULL_PAGE, NOW, SESSION

RETENTION = 1000.0
PAST = NOW + RETENTION + 1


def _ended(store: SessionStore, session_id: str = SESSION) -> None:
    given.running(store, [2, 2], session_id, retention_seconds=RETENTION)
    held = given.claimed(store, "00000000", session_id=session_id)
    store.commit(given.commit(held, [0, 1]))
    store.advance(session_id, SessionEvent.FAIL, now=NOW, actor="tester", reason="because")


class ExpiryContract:
    """expire, and what reads say of expired sessions."""

    def test_hidden_before_it_is_deleted(self, store: SessionStore) -> None:
        """A store may delete late, so reads filter."""
        _ended(store)
        assert store.session(SESSION, PAST - 2).session_id == SESSION
        with pytest.raises(SessionNotFound):
            store.session(SESSION, PAST)
        assert store.progress([SESSION], PAST) == []
        assert store.sessions(PAST) == []
        assert store.expire(PAST - 2, FULL_PAGE) == []

    def test_deleted_with_all_that_was_its(self, store: SessionStore) -> None:
        """Rows, blocks and pages; the ids are returned, once, for whoever deletes the blobs."""
        _ended(store)
        assert eventually(lambda: store.expire(PAST, FULL_PAGE), bool) == [SESSION]
        assert store.expire(PAST, FULL_PAGE) == []
        assert store.progress([SESSION], NOW) == []
        assert store.blocks(SESSION, 0, FULL_PAGE) == []
        assert store.outcome_pages(SESSION, 0, FULL_PAGE) == []
        assert store.open_bundles(SESSION, "", FULL_PAGE) == []

    def test_never_what_is_live(self, store: SessionStore) -> None:
        """However long it takes."""
        row = given.running(store, retention_seconds=1.0)
        submitted = given.submitted(store, session_id="s-other")
        assert store.expire(NOW + 10**8, FULL_PAGE) == []
        assert store.session(SESSION, NOW + 10**8) == row
        assert store.session("s-other", NOW + 10**8) == submitted

    def test_others_stay(self, store: SessionStore) -> None:
        """Only what has expired goes, also of two whose ids begin alike."""
        _ended(store, "s-book")
        other = given.running(store, session_id="s-book-2")
        assert eventually(lambda: store.expire(PAST, FULL_PAGE), bool) == ["s-book"]
        assert store.session("s-book-2", PAST) == other
        assert len(store.blocks("s-book-2", 0, FULL_PAGE)) == 3

    def test_in_pieces(self, store: SessionStore) -> None:
        """At most ``limit`` a call, all of them in the end, each once."""
        ids = [f"s-{number:04d}" for number in range(5)]
        for session_id in ids:
            _ended(store, session_id)
        found: list[str] = []

        def all_found() -> list[str]:
            piece = store.expire(PAST, 2)
            assert len(piece) <= 2
            found.extend(piece)
            return found

        eventually(all_found, lambda seen: len(seen) >= len(ids))
        assert sorted(found) == ids

    def test_the_id_is_free_again(self, store: SessionStore) -> None:
        """A new session under the id starts from nothing."""
        _ended(store)
        eventually(lambda: store.expire(PAST, FULL_PAGE), bool)
        draft = given.record(submitted_at=PAST)
        assert store.history(SESSION) == []
        assert store.create_session(draft) == draft
        assert store.outcome_pages(SESSION, 0, FULL_PAGE) == []
        assert [entry.event for entry in store.history(SESSION)] == ["submit"]
