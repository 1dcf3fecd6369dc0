"""The contract of SessionStore, put together from its parts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from htcgrid_core.ports.session_store import SessionStore
from htcgrid_core.testing.contracts.store_cancel import CancelContract
from htcgrid_core.testing.contracts.store_claim import ClaimContract
from htcgrid_core.testing.contracts.store_commit import CommitContract
from htcgrid_core.testing.contracts.store_ends import EndsContract
from htcgrid_core.testing.contracts.store_expiry import ExpiryContract
from htcgrid_core.testing.contracts.store_holds import HoldsContract
from htcgrid_core.testing.contracts.store_lifecycle import LifecycleContract
from htcgrid_core.testing.contracts.store_pages import PagesContract
from htcgrid_core.testing.contracts.store_races import RacesContract
from htcgrid_core.testing.contracts.store_renew import RenewContract
from htcgrid_core.testing.contracts.store_sizes import SizesContract
from htcgrid_core.testing.contracts.store_submit import SubmitContract
from htcgrid_core.testing.contracts.store_watch import WatchContract


class SessionStoreContract(
    SubmitContract,
    ClaimContract,
    RenewContract,
    CommitContract,
    CancelContract,
    LifecycleContract,
    PagesContract,
    WatchContract,
    EndsContract,
    ExpiryContract,
    HoldsContract,
    RacesContract,
    SizesContract,
):
    """Everything the services rely on in a session store. Override ``store``."""

    @pytest.fixture
    def store(self) -> SessionStore:
        """A store without any session. May be used from many threads."""
        raise NotImplementedError

    @pytest.fixture
    def connect(self, store: SessionStore) -> Callable[[], SessionStore]:
        """Another client of the same store, as another process would make it; override where that differs."""
        return lambda: store
