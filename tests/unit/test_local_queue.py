"""The table as a queue: in which order an agent is told of bundles."""

from __future__ import annotations

from htcgrid_core.adapters.local.database import Database
from htcgrid_core.adapters.local.queue import TableQueue
from htcgrid_core.adapters.local.store import SqliteStore
from htcgrid_core.testing.contracts import given


def test_a_dead_agents_bundle_does_not_wait_for_those_that_are_ready() -> None:
    database = Database(":memory:")
    store, queue = SqliteStore(database), TableQueue(database)
    given.running(store, [1] * 20)
    lost = given.claimed(store, "00000003").bundle.bundle_id
    assert lost not in [message.hint.bundle_id for message in queue.receive("default", 8, given.NOW).messages]

    received = queue.receive("default", 8, given.NOW + given.LEASE).messages

    assert received[0].hint.bundle_id == lost
    assert len(received) == 8


def test_bundles_that_cannot_be_claimed_do_not_hide_those_that_are_ready() -> None:
    database = Database(":memory:")
    store, queue = SqliteStore(database), TableQueue(database)
    given.running(store, [1] * 20)
    for number in range(20):
        given.claimed(store, f"{number:08d}", f"token-{number}")
    given.running(store, [1], "s-other")

    received = queue.receive("default", 8, given.NOW + given.LEASE).messages

    assert "s-other" in [message.hint.session_id for message in received]
    assert len(received) <= 8
