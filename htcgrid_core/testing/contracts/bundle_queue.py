"""The contract of BundleQueue: hints reach the agents of their pool; they may come late, twice and out of order."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest

from htcgrid_core.domain.bundle import root_id
from htcgrid_core.ports.bundle_queue import BundleQueue, Hint, Message
from htcgrid_core.ports.session_store import SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import eventually
from htcgrid_core.testing.contracts.given import SESSION

DELAY_SECONDS = 2.0


class BundleQueueContract:
    """What the services rely on in a queue. Override ``queue`` and ``store``.

    A queue may derive its hints from the bundles in the store, so each test writes those first, as the services do.
    Time is the real one: a remote queue delays by its own clock.
    """

    @pytest.fixture
    def store(self) -> SessionStore:
        """An empty store, of the same grid as the queue."""
        raise NotImplementedError

    @pytest.fixture
    def queue(self) -> BundleQueue:
        """A queue without messages."""
        raise NotImplementedError

    @pytest.fixture
    def pool(self) -> str:
        """A pool that the queue serves."""
        return "default"

    @pytest.fixture
    def other_pool(self) -> str:
        """Another one."""
        return "other"

    @staticmethod
    def _submit(store: SessionStore, queue: BundleQueue, pool: str, count: int) -> list[str]:
        """Write a session of ``count`` bundles and send their hints; their ids."""
        store.create_session(given.record(pool=pool))
        pairs = given.roots([1] * count)
        store.put_bundles(SESSION, pairs, given.NOW)
        store.acknowledge(SESSION, bundles=count, digest="", tolerated=None, now=given.NOW)
        queue.send(pool, [Hint(SESSION, bundle.bundle_id) for bundle, _ in pairs])
        return [bundle.bundle_id for bundle, _ in pairs]

    @staticmethod
    def _drain(store: SessionStore, queue: BundleQueue, pool: str, wanted: Iterable[str]) -> set[str]:
        """Claim, commit and delete whatever is received until all that was wanted was; what was received."""
        seen: set[str] = set()

        def look() -> set[str]:
            for message in queue.receive(pool, 8, time.time()).messages:
                if message.hint.bundle_id not in seen:
                    _finish(store, message)
                seen.add(message.hint.bundle_id)
                queue.delete([message])
            return seen

        return eventually(look, lambda found: found >= set(wanted))

    def test_every_hint_arrives(self, store: SessionStore, queue: BundleQueue, pool: str) -> None:
        """However many are sent in one call."""
        sent = self._submit(store, queue, pool, 35)
        assert self._drain(store, queue, pool, sent) == set(sent)

    def test_no_more_than_asked(self, store: SessionStore, queue: BundleQueue, pool: str) -> None:
        """``limit`` messages at most, so that an agent does not hoard."""
        self._submit(store, queue, pool, 5)
        first = eventually(lambda: queue.receive(pool, 2, time.time()).messages, bool)
        assert 1 <= len(first) <= 2

    def test_what_is_said_to_be_all_is_all(self, store: SessionStore, queue: BundleQueue, pool: str) -> None:
        """An agent that is told so does not ask again: nothing ready may be missing."""
        left = set(self._submit(store, queue, pool, 5))

        def look() -> set[str]:
            received = queue.receive(pool, 2, time.time())
            assert not received.is_all or left <= {message.hint.bundle_id for message in received.messages}
            for message in received.messages:
                if message.hint.bundle_id in left:
                    _finish(store, message)
                    left.remove(message.hint.bundle_id)
            queue.delete(received.messages)
            return left

        assert eventually(look, lambda still: not still) == set()

    def test_a_pool_has_its_own_hints(
        self, store: SessionStore, queue: BundleQueue, pool: str, other_pool: str
    ) -> None:
        """Agents of another pool never see them."""
        sent = self._submit(store, queue, pool, 3)
        assert queue.receive(other_pool, 8, time.time()).messages == []
        assert self._drain(store, queue, pool, sent) == set(sent)
        assert queue.receive(other_pool, 8, time.time()).messages == []

    def test_an_empty_queue_does_not_wait(self, queue: BundleQueue, pool: str) -> None:
        """Nothing comes back, and nothing to wake up for."""
        received = queue.receive(pool, 8, time.time())
        assert (list(received.messages), received.wake_at) == ([], None)

    def test_nothing_to_send_or_delete(self, queue: BundleQueue, pool: str) -> None:
        """Empty lists are fine."""
        queue.send(pool, [])
        queue.delete([])
        queue.extend([], 10.0)
        assert list(queue.receive(pool, 8, time.time()).messages) == []

    def test_done_and_deleted_is_gone(self, store: SessionStore, queue: BundleQueue, pool: str) -> None:
        """In the end nothing is left; what is doubled dies out."""
        sent = self._submit(store, queue, pool, 4)
        queue.send(pool, [Hint(SESSION, bundle_id) for bundle_id in sent])
        self._drain(store, queue, pool, sent)

        def look() -> list[Message]:
            messages = list(queue.receive(pool, 8, time.time()).messages)
            queue.delete(messages)
            return messages

        assert eventually(look, lambda messages: not messages) == []

    def test_a_delayed_hint_comes_in_time(self, store: SessionStore, queue: BundleQueue, pool: str) -> None:
        """Not before its time, and then it comes; meanwhile the queue may say when to look again."""
        self._submit(store, queue, pool, 1)
        parent = given.claimed(store, root_id(0), now=time.time())
        queue.delete(list(eventually(lambda: queue.receive(pool, 8, time.time()).messages, lambda _: True)))
        due = time.time() + DELAY_SECONDS
        retry = given.child(parent, 0, [0], failures={0: 1}, not_before=due)
        store.commit(given.commit(parent, [], [], retry))
        queue.send(pool, [Hint(SESSION, retry.bundle.bundle_id, due)])

        def look() -> tuple[float, list[str]]:
            now = time.time()
            received = queue.receive(pool, 8, now)
            found = [m.hint.bundle_id for m in received.messages if m.hint.bundle_id == retry.bundle.bundle_id]
            if not found and received.wake_at is not None:
                assert now <= received.wake_at <= due + 1.0
            return now, found

        now, found = eventually(look, lambda seen: bool(seen[1]))
        assert found
        assert now >= due - 1.0  # a queue may count in whole seconds; a claim before the time is refused anyway

    def test_what_is_leased_is_kept_from_others(self, store: SessionStore, queue: BundleQueue, pool: str) -> None:
        """While its holder extends it, a message is not delivered again."""
        self._submit(store, queue, pool, 1)
        messages = list(eventually(lambda: queue.receive(pool, 8, time.time()).messages, bool))
        given.claimed(store, messages[0].hint.bundle_id, now=time.time())
        queue.extend(messages, given.LEASE)
        assert list(queue.receive(pool, 8, time.time()).messages) == []


def _finish(store: SessionStore, message: Message) -> None:
    """Claim and commit the hinted bundle."""
    assert message.hint.session_id == SESSION
    bundle_id = message.hint.bundle_id
    held = given.claimed(store, bundle_id, f"token-{bundle_id}", now=time.time())
    store.commit(given.commit(held, list(held.bundle.indexes)))
