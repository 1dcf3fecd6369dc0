"""Expiry: what has passed its retention is hidden at once and deleted in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from htcgrid_core.domain.errors import SessionNotFinished, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.ports.session_store import Deleted, SessionStore
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
    """expire and delete, and what reads say of expired sessions."""

    def test_hidden_before_it_is_deleted(self, store: SessionStore) -> None:
        """A store may delete late, so reads filter."""
        _ended(store)
        assert store.session(SESSION, PAST - 2).session_id == SESSION
        with pytest.raises(SessionNotFound):
            store.session(SESSION, PAST)
        assert store.progress([SESSION], PAST) == []
        assert store.sessions(PAST) == []
        assert given.expired(store, PAST - 2, FULL_PAGE) == []

    def test_deleted_with_all_that_was_its(self, store: SessionStore) -> None:
        """Rows, blocks and pages; the ids are returned, once, for whoever deletes the blobs."""
        _ended(store)
        assert eventually(lambda: given.expired(store, PAST, FULL_PAGE), bool) == [SESSION]
        assert given.expired(store, PAST, FULL_PAGE) == []
        assert store.progress([SESSION], NOW) == []
        assert store.blocks(SESSION, 0, FULL_PAGE) == []
        assert store.outcome_pages(SESSION, 0, FULL_PAGE) == []
        assert store.open_bundles(SESSION, "", FULL_PAGE) == []

    def test_never_what_is_live(self, store: SessionStore) -> None:
        """However long it takes."""
        row = given.running(store, retention_seconds=1.0)
        submitted = given.submitted(store, session_id="s-other")
        assert given.expired(store, NOW + 10**8, FULL_PAGE) == []
        assert store.session(SESSION, NOW + 10**8) == row
        assert store.session("s-other", NOW + 10**8) == submitted

    def test_others_stay(self, store: SessionStore) -> None:
        """Only what has expired goes, also of two whose ids begin alike."""
        _ended(store, "s-book")
        other = given.running(store, session_id="s-book-2")
        assert eventually(lambda: given.expired(store, PAST, FULL_PAGE), bool) == ["s-book"]
        assert store.session("s-book-2", PAST) == other
        assert len(store.blocks("s-book-2", 0, FULL_PAGE)) == 3

    def test_in_pieces(self, store: SessionStore) -> None:
        """At most ``limit`` a call, all of them in the end, each once."""
        ids = [f"s-{number:04d}" for number in range(5)]
        for session_id in ids:
            _ended(store, session_id)
        found: list[str] = []

        def all_found() -> list[str]:
            piece = given.expired(store, PAST, 2)
            assert len(piece) <= 2
            found.extend(piece)
            return found

        eventually(all_found, lambda seen: len(seen) >= len(ids))
        assert sorted(found) == ids

    def test_the_id_is_free_again(self, store: SessionStore) -> None:
        """A new session under the id starts from nothing."""
        _ended(store)
        eventually(lambda: given.expired(store, PAST, FULL_PAGE), bool)
        draft = given.record(submitted_at=PAST)
        assert store.history(SESSION) == []
        assert store.create_session(draft) == draft
        assert store.outcome_pages(SESSION, 0, FULL_PAGE) == []
        assert [entry.event for entry in store.history(SESSION)] == ["submit"]

    def test_deleted_before_its_time(self, store: SessionStore) -> None:
        """With all that was its, once; the audit is not the row's."""
        _ended(store)
        folder = store.session(SESSION, NOW).folder
        store.delete(SESSION, folder, NOW + 1, actor="alice", reason="no need")
        assert store.progress([SESSION], NOW + 1) == []
        assert store.blocks(SESSION, 0, FULL_PAGE) == []
        assert store.outcome_pages(SESSION, 0, FULL_PAGE) == []
        with pytest.raises(SessionNotFound):
            store.delete(SESSION, folder, NOW + 2, actor="alice")
        assert eventually(lambda: given.expired(store, PAST, FULL_PAGE), lambda found: not found) == []

    def test_what_is_live_is_not_deleted(self, store: SessionStore) -> None:
        """Running or still being submitted: nothing of it is changed."""
        row = given.running(store)
        submitted = given.submitted(store, session_id="s-other")
        for live in (row, submitted):
            with pytest.raises(SessionNotFinished, match="cancel it"):
                store.delete(live.session_id, live.folder, NOW + 1, actor="alice")
        assert store.progress([SESSION, "s-other"], NOW) == [row, submitted]

    def test_a_newer_session_is_not_deleted_for_an_older(self, store: SessionStore) -> None:
        """Whoever looked at one, and comes late, finds another folder."""
        _ended(store)
        store.delete(SESSION, store.session(SESSION, NOW).folder, NOW + 1, actor="alice")
        newer = store.create_session(replace(given.record(submitted_at=NOW + 2), folder="newer"))
        store.advance(SESSION, SessionEvent.ABORT, now=NOW + 3, actor="tester")
        assert newer.folder == "newer"
        with pytest.raises(SessionNotFound):
            store.delete(SESSION, "older", NOW + 4, actor="alice")
        assert store.session(SESSION, NOW + 4).folder == "newer"

    def test_what_is_deleted_names_its_folder(self, store: SessionStore) -> None:
        """Of the row that was deleted, for whoever deletes the blobs."""
        store.create_session(replace(given.record(retention_seconds=RETENTION), folder="mine"))
        store.advance(SESSION, SessionEvent.ABORT, now=NOW, actor="tester")
        assert eventually(lambda: store.expire(PAST, FULL_PAGE), bool) == [Deleted(SESSION, "mine")]
