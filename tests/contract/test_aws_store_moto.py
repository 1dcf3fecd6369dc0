"""The DynamoDB store on moto: a second opinion on the shapes of calls, where one client is enough.

moto lets two conditional writes win and loses additions that come at once, so it runs none of the races, and the
store's own threads put one after another. It is slow, too: claims and commits only.
"""

from __future__ import annotations

import pytest

from htcgrid_core.adapters.aws import ending, leasing, submitting
from htcgrid_core.adapters.aws.store import DynamoStore
from htcgrid_core.testing.contracts.store_claim import ClaimContract
from htcgrid_core.testing.contracts.store_commit import CommitContract
from tests.aws.emulators import Account
from tests.aws.stores import make_table, store_of


@pytest.mark.slow
class TestOnMoto(ClaimContract, CommitContract):
    @pytest.fixture
    def store(self, moto_account: Account, monkeypatch: pytest.MonkeyPatch) -> DynamoStore:
        for module in (ending, leasing, submitting):
            monkeypatch.setattr(module, "THREADS", 1)
        make_table(moto_account)
        return store_of(moto_account)
