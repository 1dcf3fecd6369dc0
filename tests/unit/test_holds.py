"""Legal holds as services see them: blobs stay with the row, and with what the session ran again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.domain.errors import InvalidInput, SessionHeld, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import holds, resubmit
from htcgrid_core.services.deletion import delete
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.services.results import in_index_order
from htcgrid_core.services.sweep import sweep
from htcgrid_core.testing.contracts import given
from tests.manual_agent import finish, parse, submit
from tests.planes import spec

ID, AGAIN = "s-held", "s-again"
RETENTION = 50.0
YEARS = 10_000 * 86400.0
EVENTS = ["x" * 1000, "y" * 1000]


@pytest.fixture
def plane(plane: Plane) -> Plane:
    """One whose events and results are blobs."""
    object.__setattr__(plane, "inline_payload_bytes", 100)
    return plane


def run(plane: Plane, session_id: str = ID) -> None:
    submit(plane, session_id, spec(retention_seconds=RETENTION), EVENTS, idempotent=True)
    finish(plane, str.upper)


def test_blobs_of_what_is_held_stay(plane: Plane) -> None:
    """Through the reconciler, the sweep and whoever deletes; after the release they go with the session."""
    run(plane)
    before = plane.blobs.keys(f"sessions/{ID}/")
    assert before
    holds.hold(plane, ID, actor="alice", reason="case")
    plane.clock.sleep(YEARS)
    reconcile(plane, 10.0)
    assert not set(before) & set(sweep(plane).deleted)
    with pytest.raises(SessionHeld, match="case"):
        delete(plane, ID, actor="bob")
    assert plane.blobs.keys(f"sessions/{ID}/") == before
    record = plane.store.session(ID, plane.clock.now())
    assert len([one for _, one in in_index_order(plane, record, parse(record)) if one is not None]) == 2
    holds.release(plane, ID, actor="alice")
    assert reconcile(plane, 10.0).expired == 1
    assert plane.blobs.keys(f"sessions/{ID}/") == []


def test_what_it_ran_again_is_held_with_it(plane: Plane) -> None:
    """Before it; of one that is gone there is nothing to hold."""
    submit(plane, ID, spec(retention_seconds=RETENTION), EVENTS, idempotent=True)
    plane.store.advance(ID, SessionEvent.FAIL, now=plane.clock.now(), actor="tester", reason="because")
    resubmit.resubmit(plane, AGAIN, ID, agents=1, idempotent=True)
    finish(plane, str.upper)
    assert holds.hold(plane, AGAIN, actor="alice", reason="case").held == "case"
    assert plane.store.session(ID, plane.clock.now()).held == "case"
    holds.release(plane, ID, actor="alice")
    delete(plane, ID, actor="alice")
    holds.release(plane, AGAIN, actor="alice")
    assert holds.hold(plane, AGAIN, actor="alice", reason="again").held == "again"


def test_a_reason_is_needed(plane: Plane) -> None:
    """And a session; nothing is held otherwise."""
    run(plane)
    with pytest.raises(InvalidInput, match="say why"):
        holds.hold(plane, ID, actor="alice", reason="  ")
    assert plane.store.session(ID, plane.clock.now()).held == ""
    for act in (holds.release, lambda *a, **o: holds.hold(*a, **o, reason="case")):
        with pytest.raises(SessionNotFound):
            act(plane, "s-none", actor="alice")


def test_a_release_that_knows_no_holds_deletes_nothing(tmp_path: Path) -> None:
    """Neither by what has expired, which it does not find, nor by hand, which is refused, with all else of it."""
    path = tmp_path / "grid.db"
    store = SqliteStore(Database(path))
    given.running(store, [2])
    store.commit(given.commit(given.claimed(store, "00000000"), [0, 1]))
    store.advance(given.SESSION, SessionEvent.COMPLETE, now=given.NOW, actor="tester")
    store.hold(given.SESSION, given.NOW, actor="alice", reason="case")
    older = sqlite3.connect(path, isolation_level=None)
    assert older.execute("SELECT id FROM sessions WHERE expires_at <= 1e99").fetchall() == []
    older.execute("BEGIN IMMEDIATE")
    older.execute("DELETE FROM outcomes WHERE session_id = ?", (given.SESSION,))
    with pytest.raises(sqlite3.IntegrityError, match="on legal hold"):
        older.execute("DELETE FROM sessions WHERE id = ?", (given.SESSION,))
    older.execute("ROLLBACK")
    older.close()
    assert len(store.outcome_pages(given.SESSION, 0, 10)) == 1
