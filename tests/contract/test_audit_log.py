"""The audit logs of both kinds of grid keep the contract of AuditLog."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems, DynamoAuditLog
from htcgrid_core.adapters.aws.dynamodb.schema import TTL, Key
from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.adapters.aws.dynamodb.writes import Write
from htcgrid_core.adapters.local.sqlite import audit_log
from htcgrid_core.adapters.local.sqlite.audit_log import SqliteAuditLog
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.domain import limits
from htcgrid_core.domain.audit import AuditEntry
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.testing.contracts import AuditLogContract, given
from htcgrid_core.testing.contracts.facts import eventually
from htcgrid_core.testing.contracts.given import NOW, SESSION
from tests.aws.emulators import Account
from tests.aws.stores import make_table, store_of

DAY = 86400.0


class TestOnSqlite(AuditLogContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SqliteStore:
        return SqliteStore(Database(tmp_path / "grid.db"))

    @pytest.fixture
    def audit(self, store: SqliteStore) -> SqliteAuditLog:
        return SqliteAuditLog(store._database)


class TestOnMinistack(AuditLogContract):
    """Of sessions in one lane, whose last commit ends them."""

    @pytest.fixture
    def store(self, aws_account: Account) -> DynamoStore:
        make_table(aws_account)
        return store_of(aws_account, lanes=1)

    @pytest.fixture
    def audit(self, store: DynamoStore) -> DynamoAuditLog:
        return DynamoAuditLog(store.table, AuditItems())


class TestOnManyLanes(TestOnMinistack):
    """Of sessions whose ends take several steps."""

    @pytest.fixture
    def store(self, aws_account: Account) -> DynamoStore:
        make_table(aws_account)
        return store_of(aws_account, lanes=3, whole_lanes=3)


def test_an_end_tells_of_the_commit_that_came_before_it_was_written(
    aws_account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which whoever ends the session has not read."""
    make_table(aws_account)
    store = store_of(aws_account, lanes=1)
    given.running(store)
    held, others = given.claimed(store, "00000000"), [store_of(aws_account, lanes=1)]
    transact = store.table.transact

    def late(writes: Sequence[Write]) -> None:
        if others:
            others.pop().commit(given.commit(held, [0, 1]))
        transact(writes)

    monkeypatch.setattr(store.table, "transact", late)
    row = store.advance(SESSION, SessionEvent.FAIL, now=NOW + 1, actor="grid", reason="no time")
    end = DynamoAuditLog(store.table, AuditItems()).of_session(SESSION)[-1]
    assert row.counters.completed == 2
    assert end.spent == row.spent


def test_a_deletion_that_two_agents_do_is_one(aws_account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or that one of them began and another ends."""
    make_table(aws_account)
    store, other = (store_of(aws_account, lanes=1) for _ in range(2))
    given.running(store, retention_seconds=1.0)
    store.advance(SESSION, SessionEvent.FAIL, now=NOW, actor="grid", reason="no time")
    delete = store.table.delete

    def late(key: Key) -> None:
        assert given.expired(other, NOW + 60, 10) == [SESSION]
        delete(key)

    monkeypatch.setattr(store.table, "delete", late)
    eventually(lambda: given.expired(store, NOW + 50, 10), bool)
    events = [(one.event, one.at) for one in DynamoAuditLog(store.table, AuditItems()).of_session(SESSION)]
    assert events[-2:] == [("fail", NOW), ("delete", NOW + 50)]
    assert [event for event, _ in events].count("delete") == 1


def _ended(database: Database, at: float) -> SqliteStore:
    store = SqliteStore(database)
    given.running(store, retention_seconds=DAY, submitted_at=at)
    store.advance(SESSION, SessionEvent.FAIL, now=at, actor="grid", reason="no time")
    return store


def test_entries_are_deleted_when_their_time_is_over_and_not_before(tmp_path: Path) -> None:
    """Those of a session that is there are not, and what costs are made of is kept for longer."""
    database = Database(tmp_path / "grid.db")
    store, audit = _ended(database, NOW), SqliteAuditLog(database, kept_seconds=10 * DAY)
    assert audit.prune(NOW + 11 * DAY) == 0, "the session is there"
    assert given.expired(store, NOW + 2 * DAY, 10) == [SESSION]
    assert audit.prune(NOW + 9 * DAY) == 0
    assert audit.prune(NOW + 11 * DAY) == 2
    assert [one.event for one in audit.of_session(SESSION)] == ["fail", "delete"], "the end, and what is younger"
    assert audit.prune(NOW + limits.COSTS_SECONDS + DAY) == 2
    assert audit.of_session(SESSION) == []


def test_old_entries_among_those_that_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Are deleted piece by piece, and those that stay are passed by once."""
    monkeypatch.setattr(audit_log, "AT_ONCE", 2)
    database = Database(tmp_path / "grid.db")
    store, audit = SqliteStore(database), SqliteAuditLog(database, kept_seconds=DAY)
    names = [f"s-{number:04d}" for number in range(5)]
    for name in names:
        given.running(store, session_id=name, retention_seconds=DAY, submitted_at=NOW)
        store.advance(name, SessionEvent.FAIL, now=NOW, actor="grid", reason="no time")
    audit.append(AuditEntry(NOW, "", "alice", "rotate-key", "", ""), "t")
    assert given.expired(store, NOW + DAY, 4) == names[:4]
    assert audit.prune(NOW + 1.5 * DAY) == 2 * 4 + 1
    left = [(one.session_id, one.event) for name in names for one in audit.of_session(name)]
    assert left[: 2 * 4] == [(name, event) for name in names[:4] for event in ("fail", "delete")]
    assert [event for _, event in left[2 * 4 :]] == ["submit", "acknowledge", "fail"], "its session is there"
    assert audit.of_session("") == []


def test_nobody_deletes_an_entry_before_its_time(tmp_path: Path) -> None:
    """Not the release before either, which deletes a session's entries with it."""
    database = Database(tmp_path / "grid.db")
    _ended(database, NOW)
    assert database.write(lambda db: db.execute("DELETE FROM audit WHERE session_id = ?", (SESSION,)).rowcount) == 0
    assert len(SqliteAuditLog(database).of_session(SESSION)) == 3


def test_an_entry_is_not_changed(tmp_path: Path) -> None:
    database = Database(tmp_path / "grid.db")
    _ended(database, NOW)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.write(lambda db: db.execute("UPDATE audit SET detail = 'nothing'"))


@pytest.mark.parametrize(("days", "kept"), [(1.0, 400.0), (1000.0, 1000.0)])
def test_items_of_ends_are_kept_for_costs_and_others_as_the_setting_says(days: float, kept: float) -> None:
    """But for as long as their session may be there."""
    items, spent = AuditItems(days * DAY), given.record().spent
    end = items.put(NOW, SESSION, "grid", "complete", "RUNNING", "COMPLETED", spent=spent)
    act = items.put(NOW, SESSION, "grid", "cancel", "RUNNING", "CANCELLING", session_seconds=7 * DAY)
    assert end.item[TTL] == int(NOW + kept * DAY)
    assert act.item[TTL] == int(NOW + max(days, 7.0) * DAY)


def test_a_put_does_not_take_the_place_of_an_entry(aws_account: Account) -> None:
    make_table(aws_account)
    table, items = store_of(aws_account).table, AuditItems()
    audit = DynamoAuditLog(table, items)
    for detail in ("first", "second"):
        entry = items.put(NOW, "", "alice", "refused", "", "", detail, token="t")
        if detail == "first":
            table.write(entry)
        else:
            with pytest.raises(Exception, match="conditions failed"):
                table.write(entry)
    assert [one.detail for one in audit.of_session("")] == ["first"]
