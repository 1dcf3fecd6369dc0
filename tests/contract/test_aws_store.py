"""The DynamoDB store keeps the contract of SessionStore, over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.testing.contracts import SessionStoreContract
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
