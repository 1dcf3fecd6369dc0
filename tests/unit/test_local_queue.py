"""The table as a queue: in which order an agent is told of bundles."""

from __future__ import annotations

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.queue import TableQueue
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
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


def test_it_says_whether_that_is_all_and_when_there_is_more() -> None:
    database = Database(":memory:")
    store, queue = SqliteStore(database), TableQueue(database)
    given.running(store, [1] * 3)
    parent = given.claimed(store, "00000000")
    due = given.NOW + 7.0
    store.commit(given.commit(parent, [], [], given.child(parent, 0, [0], failures={0: 1}, not_before=due)))

    some, everything = queue.receive("default", 2, given.NOW), queue.receive("default", 3, given.NOW)

    assert (len(some.messages), some.is_all) == (2, False)
    assert (len(everything.messages), everything.is_all, everything.wake_at) == (2, True, due)


def test_of_many_that_lapsed_some_are_not_all() -> None:
    database = Database(":memory:")
    store, queue = SqliteStore(database), TableQueue(database)
    given.running(store, [1] * 3)
    for number in range(3):
        given.claimed(store, f"{number:08d}", f"token-{number}")

    some, everything = (queue.receive("default", limit, given.NOW + given.LEASE) for limit in (4, 8))

    assert (len(some.messages), some.is_all) == (2, False)
    assert (len(everything.messages), everything.is_all) == (3, True)
