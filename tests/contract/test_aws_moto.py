"""The adapters on moto: a second opinion on the shapes of calls, where one client is enough.

moto lets two conditional writes win and loses additions that come at once, so it runs none of the races, and the
store's own threads put one after another. It is slow, too: of the store claims and commits only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from htcgrid_core.adapters.aws.dynamodb import leasing, sealing
from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.adapters.aws.keys import SsmKeys
from htcgrid_core.adapters.aws.sqs.queue import SqsQueue
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.ports.blob_store import BlobStore
from htcgrid_core.ports.session_store import SessionStore
from htcgrid_core.testing.contracts import BlobStoreContract, BundleQueueContract, KeyStoreContract
from htcgrid_core.testing.contracts.store_claim import ClaimContract
from htcgrid_core.testing.contracts.store_commit import CommitContract
from tests.aws.emulators import Account
from tests.aws.grids import clients_of
from tests.aws.stores import make_table, store_of
from tests.contract.test_aws_blobs import blobs_in
from tests.contract.test_aws_keys import keys_in
from tests.contract.test_aws_queue import HIDDEN_SECONDS, queues_of

pytestmark = pytest.mark.slow


class TestStore(ClaimContract, CommitContract):
    @pytest.fixture
    def store(self, moto_account: Account, monkeypatch: pytest.MonkeyPatch) -> DynamoStore:
        for module in (leasing, sealing):
            monkeypatch.setattr(module, "THREADS", 1)
        make_table(moto_account)
        return store_of(moto_account)


class TestQueue(BundleQueueContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SessionStore:
        return SqliteStore(Database(tmp_path / "grid.db"))

    @pytest.fixture
    def queue(self, moto_account: Account) -> Iterator[SqsQueue]:
        queues = {pool: queues_of(moto_account, pool) for pool in ("default", "other")}
        queue = SqsQueue(clients_of(moto_account), queues, hidden_seconds=HIDDEN_SECONDS)
        yield queue
        queue.close()


class TestBlobs(BlobStoreContract):
    @pytest.fixture
    def blobs(self, moto_account: Account, tmp_path: Path) -> BlobStore:
        return blobs_in(moto_account, tmp_path)


class TestKeys(KeyStoreContract):
    @pytest.fixture
    def opened(self, moto_account: Account) -> Callable[[], SsmKeys]:
        return keys_in(moto_account)
