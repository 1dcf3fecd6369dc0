"""The outboxes of both kinds of grid keep the contract of Outbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from htcgrid_core.adapters.aws.dynamodb.outbox import DynamoOutbox
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.outbox import SqliteOutbox
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.domain.notification import Notification, NotificationState
from htcgrid_core.testing.contracts import OutboxContract, given
from tests.aws.emulators import Account
from tests.aws.stores import make_table, store_of


class TestOnSqlite(OutboxContract):
    @pytest.fixture
    def outbox(self, tmp_path: Path) -> SqliteOutbox:
        return SqliteOutbox(Database(tmp_path / "grid.db"))


class TestOnMinistack(OutboxContract):
    @pytest.fixture
    def outbox(self, aws_account: Account) -> DynamoOutbox:
        make_table(aws_account)
        return DynamoOutbox(store_of(aws_account).table)


def test_sessions_and_rows_do_not_meet_in_the_index_that_they_share(aws_account: Account) -> None:
    make_table(aws_account)
    store = store_of(aws_account)
    row = given.running(store)
    outbox = DynamoOutbox(store.table)
    assert outbox.replace(None, Notification(row.session_id, "ends", "v1"))
    assert given.expired(store, given.NOW + 10**8, given.FULL_PAGE) == []
    assert store.live_sessions() == [row]
    assert [record.session_id for record in store.sessions(given.NOW)] == [row.session_id]


def test_settled_rows_of_one_machine_go_with_their_session(tmp_path: Path) -> None:
    """What is still to be told stays until it is; DynamoDB deletes by time."""
    database = Database(tmp_path / "grid.db")
    store, outbox = SqliteStore(database), SqliteOutbox(database)
    row = given.running(store, retention_seconds=1.0)
    store.advance(row.session_id, SessionEvent.FAIL, now=given.NOW, actor="tester")
    pending = Notification(row.session_id, "pending", "v1")
    settled = Notification(row.session_id, "settled", "v1", NotificationState.DELIVERED)
    other = Notification("s-other", "settled", "v1", NotificationState.DELIVERED)
    for one in (pending, settled, other):
        assert outbox.replace(None, one)
    assert given.expired(store, given.NOW + 2, given.FULL_PAGE) == [row.session_id]
    assert outbox.of(row.session_id) == [pending]
    assert outbox.of("s-other") == [other]
