"""The DynamoDB store keeps the contract of SessionStore, over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems, DynamoAuditLog
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.testing.contracts import SessionStoreContract, given
from htcgrid_core.testing.contracts.facts import eventually
from tests.aws.emulators import Account
from tests.aws.stores import make_table, store_of


class TestOnMinistack(SessionStoreContract):
    """As it is deployed: sessions of one lane if they are written in one step, of several else."""

    @pytest.fixture
    def store(self, aws_account: Account) -> DynamoStore:
        make_table(aws_account)
        return store_of(aws_account)

    @pytest.fixture
    def connect(self, store: DynamoStore, aws_account: Account) -> Callable[[], DynamoStore]:
        return lambda: store_of(aws_account)


def test_who_deletes_late_deletes_no_newer_session(aws_account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its look and its write another deletes the session, and somebody submits one under the same id."""
    make_table(aws_account)
    late, other = store_of(aws_account), store_of(aws_account)
    given.running(late, retention_seconds=1.0)
    late.advance(given.SESSION, SessionEvent.FAIL, now=given.NOW, actor="grid", reason="no time")
    past, again = given.NOW + 100, given.record(submitted_at=given.NOW + 100)
    find = SessionRows.find
    found: list[str] = []

    def find_late(rows: SessionRows, session_id: str) -> SessionRow | None:
        row = find(rows, session_id)
        if row is not None and not found:
            found.append(session_id)
            assert given.expired(other, past, 10) == [session_id]
            other.create_session(again)
        return row

    monkeypatch.setattr(SessionRows, "find", find_late)
    assert eventually(lambda: given.expired(late, past, 10), lambda gone: bool(gone or found)) == []
    assert late.session(given.SESSION, past) == again
    entries = DynamoAuditLog(late.table, AuditItems()).of_session(given.SESSION)
    assert [entry.event for entry in entries if entry.at == past].count("delete") == 1


@pytest.mark.slow
class TestOneLane(TestOnMinistack):
    """Every session in one lane, whose counters are in the session's row."""

    @pytest.fixture
    def store(self, aws_account: Account) -> DynamoStore:
        make_table(aws_account)
        return store_of(aws_account, lanes=1)

    @pytest.fixture
    def connect(self, store: DynamoStore, aws_account: Account) -> Callable[[], DynamoStore]:
        return lambda: store_of(aws_account, lanes=1)


@pytest.mark.slow
class TestThreeLanes(TestOnMinistack):
    """Every session in three lanes, the smallest too."""

    @pytest.fixture
    def store(self, aws_account: Account) -> DynamoStore:
        make_table(aws_account)
        return store_of(aws_account, lanes=3, whole_lanes=3)

    @pytest.fixture
    def connect(self, store: DynamoStore, aws_account: Account) -> Callable[[], DynamoStore]:
        return lambda: store_of(aws_account, lanes=3, whole_lanes=3)
