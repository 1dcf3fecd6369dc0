"""Contract suites: what every adapter of a port must do, as pytest classes for the adapter's own tests to subclass.

    class TestMyStore(SessionStoreContract):
        @pytest.fixture
        def store(self) -> SessionStore:
            return MyStore(...)

A suite knows nothing of an adapter but its port's docstrings. Each test wants a fresh, empty adapter (but for the
gateway's, whose tests share a grid). Listings may
lag behind writes and queues may delay or double: where the port allows it, the suites wait for the fact.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "audit_log", "blob_store", "bundle_queue", "doorbell", "gateway_audit", "gateway_functions",
            "gateway_given",
            "gateway_sessions", "gateway_submit", "gateway_tasks", "key_store", "outbox", "store_cancel", "store_claim",
            "store_commit", "store_expiry", "store_lifecycle", "store_pages", "store_races", "store_renew",
            "store_submit", "store_watch",
        )
    )
)  # fmt: skip

from htcgrid_core.testing.contracts.audit_log import AuditLogContract  # noqa: E402 - after the rewriting is set up
from htcgrid_core.testing.contracts.blob_store import BlobStoreContract  # noqa: E402
from htcgrid_core.testing.contracts.bundle_queue import BundleQueueContract  # noqa: E402
from htcgrid_core.testing.contracts.doorbell import DoorbellContract  # noqa: E402
from htcgrid_core.testing.contracts.gateway import GatewayContract  # noqa: E402
from htcgrid_core.testing.contracts.key_store import KeyStoreContract  # noqa: E402
from htcgrid_core.testing.contracts.outbox import OutboxContract  # noqa: E402
from htcgrid_core.testing.contracts.session_store import SessionStoreContract  # noqa: E402

__all__ = [
    "AuditLogContract",
    "BlobStoreContract", "BundleQueueContract", "DoorbellContract", "GatewayContract", "KeyStoreContract",
    "OutboxContract",
    "SessionStoreContract",
]  # fmt: skip
