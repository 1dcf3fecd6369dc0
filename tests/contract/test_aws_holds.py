"""Legal holds on DynamoDB: no item of a session that is held has a time to live, whenever whoever holds it dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item, values
from htcgrid_core.adapters.aws.dynamodb.schema import TTL
from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import Write
from htcgrid_core.domain.errors import SessionHeld
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.given import FULL_PAGE, NOW, SESSION
from tests.aws.emulators import Account
from tests.aws.stores import TABLE, make_table, store_of

LATER = NOW + 10**8
TASKS = [2] * 3


class Killed(BaseException):
    """The process that holds or releases dies."""


@pytest.fixture(params=[1, 8], ids=["one lane", "several lanes"])
def store(aws_account: Account, request: pytest.FixtureRequest) -> DynamoStore:
    """A session that has ended, with pages of its outcomes and what was never run."""
    make_table(aws_account)
    store = store_of(aws_account, lanes=request.param)
    given.running(store, TASKS)
    for root in range(2):
        store.commit(given.commit(given.claimed(store, f"{root:08d}"), [2 * root, 2 * root + 1]))
    store.advance(SESSION, SessionEvent.FAIL, now=NOW, actor="tester", reason="because")
    return store


def items_of(account: Account) -> list[Item]:
    """All of the session's but for its audit, which nobody may change."""
    found = account.dynamodb().scan(TableName=TABLE, ConsistentRead=True)["Items"]
    return [item for item in map(values, found) if SESSION in item["pk"] and not item["pk"].startswith("A#")]


def times(account: Account) -> list[bool]:
    """Of each item, whether it has a time to live."""
    return [TTL in item for item in items_of(account)]


@contextmanager
def killed_at(write: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The process dies before the write of this number; how many there were."""
    seen = [0]
    write_one, transact = Table.write, Table.transact

    def counted() -> None:
        seen[0] += 1
        if seen[0] == write:
            raise Killed

    def writing(table: Table, one: Write) -> Item:
        counted()
        return write_one(table, one)

    def transacting(table: Table, several: list[Write]) -> None:
        counted()
        transact(table, several)

    with monkeypatch.context() as patched:
        patched.setattr(Table, "write", writing)
        patched.setattr(Table, "transact", transacting)
        yield seen


def test_no_item_of_what_is_held_has_a_time(store: DynamoStore, aws_account: Account) -> None:
    """And what readers do later gives none to any; a release gives one to each."""
    assert all(times(aws_account))
    store.hold(SESSION, NOW + 1, actor="alice", reason="case")
    assert not any(times(aws_account))
    assert len(store.outcome_pages(SESSION, 0, FULL_PAGE)) == 2
    assert not any(times(aws_account))
    store.release(SESSION, NOW + 2, actor="alice")
    assert all(times(aws_account))


@pytest.mark.parametrize("begun", ["hold", "release"])
def test_whoever_dies_halfway_is_followed(
    store: DynamoStore, aws_account: Account, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    """At whatever write: a session is not said to be held before it is, nor deleted, and the next one goes on."""

    def act(now: float, other: DynamoStore) -> None:
        other.hold(SESSION, now, actor="alice", reason="case") if begun == "hold" else other.release(
            SESSION, now, actor="alice"
        )

    undo: Callable[[DynamoStore], object] = (
        (lambda other: other.release(SESSION, NOW + 3, actor="alice"))
        if begun == "hold"
        else (lambda other: other.hold(SESSION, NOW + 3, actor="alice", reason="case"))
    )
    if begun == "release":
        undo(store)
    write = 1
    while True:
        with killed_at(write, monkeypatch) as seen:
            try:
                act(NOW + 1, store_of(aws_account))
                killed = False
            except Killed:
                killed = True
        if not killed:
            break
        row = store_of(aws_account).session(SESSION, NOW)
        assert not row.held or not any(times(aws_account))
        if row.expires_at is None:
            assert given.expired(store, LATER, FULL_PAGE) == []
            with pytest.raises(SessionHeld):
                store.delete(SESSION, row.folder, NOW + 2, actor="bob")
            act(NOW + 2, store_of(aws_account))
            assert any(times(aws_account)) is (begun == "release")
            undo(store_of(aws_account))
        write += 1 if write < 2 else 12  # of those in the middle, some
    assert seen[0] > 6
