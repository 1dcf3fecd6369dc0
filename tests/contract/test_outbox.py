"""The outboxes of both kinds of grid keep the contract of Outbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from htcgrid_core.adapters.aws.dynamodb.outbox import DynamoOutbox
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.outbox import SqliteOutbox
from htcgrid_core.domain.notification import Notification
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
    assert store.expire(given.NOW + 10**8, given.FULL_PAGE) == []
    assert store.live_sessions() == [row]
    assert [record.session_id for record in store.sessions(given.NOW)] == [row.session_id]
