"""Reading: pages by cursor and by root, blocks, open and runnable bundles."""

from __future__ import annotations

from functools import partial

import pytest

from htcgrid_core.domain.bundle import before_root, root_id
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.session_store import OutcomePage, SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, eventually
from htcgrid_core.testing.contracts.given import FULL_PAGE, LEASE, NOW, SESSION


def _commit_roots(store: SessionStore, order: list[int], failing: set[int]) -> None:
    """Commit two-task roots in that order; of those in ``failing`` the second task failed."""
    for number in order:
        held = given.claimed(store, root_id(number), f"token-{number}")
        first = 2 * number
        if number in failing:
            store.commit(given.commit(held, [first], [first + 1]))
        else:
            store.commit(given.commit(held, [first, first + 1]))


class PagesContract:
    """outcome_pages, root_pages, blocks, open_bundles and runnable."""

    def test_pages_come_in_commit_order(self, store: SessionStore) -> None:
        """Cursors grow with every commit, and going on after any of them misses and repeats nothing."""
        given.running(store, [2] * 9)
        order = [3, 1, 4, 0, 5, 2, 6]
        _commit_roots(store, order, {1, 5})
        pages = store.outcome_pages(SESSION, 0, FULL_PAGE)
        assert [page.root for page in pages] == order
        cursors = [page.cursor for page in pages]
        assert cursors == sorted(set(cursors))
        assert cursors[0] > 0
        for at, cursor in enumerate(cursors):
            assert store.outcome_pages(SESSION, cursor, FULL_PAGE) == pages[at + 1 :]
        assert_counters_exact(store)

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    def test_pages_in_pieces(self, store: SessionStore, limit: int) -> None:
        """At most ``limit`` a call; all of them after enough calls."""
        given.running(store, [2] * 8)
        _commit_roots(store, list(range(7)), set())
        found: list[OutcomePage] = []
        cursor = 0
        while pages := store.outcome_pages(SESSION, cursor, limit):
            assert len(pages) <= limit
            found += pages
            cursor = pages[-1].cursor
        assert found == store.outcome_pages(SESSION, 0, FULL_PAGE)
        assert len(found) == 7

    def test_pages_with_failures_only(self, store: SessionStore) -> None:
        """The same pages under the same cursors, less those without failures; paged like the others."""
        given.running(store, [2] * 8, tolerated=10)
        _commit_roots(store, list(range(7)), {2, 3, 6})
        failing = [page for page in store.outcome_pages(SESSION, 0, FULL_PAGE) if page.failed]
        assert [page.root for page in failing] == [2, 3, 6]
        assert store.outcome_pages(SESSION, 0, FULL_PAGE, failed_only=True) == failing
        assert store.outcome_pages(SESSION, 0, 1, failed_only=True) == failing[:1]
        assert store.outcome_pages(SESSION, failing[0].cursor, 1, failed_only=True) == failing[1:2]
        assert store.outcome_pages(SESSION, failing[2].cursor, FULL_PAGE, failed_only=True) == []

    def test_pages_of_a_session_are_its_own(self, store: SessionStore) -> None:
        """Other sessions' pages never show, in whatever order they were committed."""
        given.running(store, [2, 2], "s-aaaa")
        given.running(store, [2, 2], "s-bbbb")
        for number in range(2):
            for session_id in ("s-aaaa", "s-bbbb"):
                held = given.claimed(store, root_id(number), f"{session_id}-{number}", session_id=session_id)
                store.commit(given.commit(held, [2 * number, 2 * number + 1]))
        for session_id in ("s-aaaa", "s-bbbb"):
            assert [page.root for page in store.outcome_pages(session_id, 0, FULL_PAGE)] == [0, 1]
            assert len(store.root_pages(session_id, 0, 9)) == 2
        assert store.outcome_pages("s-nobody", 0, FULL_PAGE) == []

    @pytest.mark.parametrize("limit", [1, 3, 100])
    def test_what_was_committed_is_known_without_the_pages(self, store: SessionStore, limit: int) -> None:
        """The same bundles under the same cursors, and whether some of their tasks failed."""
        given.running(store, [2] * 8, tolerated=10)
        _commit_roots(store, [5, 2, 0, 7, 3], {2, 3})
        expected = [(p.cursor, p.bundle_id, p.failed > 0) for p in store.outcome_pages(SESSION, 0, FULL_PAGE)]
        found, cursor = [], 0
        while some := store.committed(SESSION, cursor, limit):
            assert len(some) <= limit
            found += [(one.cursor, one.bundle_id, one.failed) for one in some]
            cursor = some[-1].cursor
        assert found == expected
        assert store.committed("s-nobody", 0, limit) == []

    def test_pages_of_some_bundles(self, store: SessionStore) -> None:
        """By their ids; those that are open, or are not there, have none."""
        given.running(store, [3] * 3)
        held = given.claimed(store, root_id(1), "token-1")
        child = given.child(held, 0, [4, 5])
        store.commit(given.commit(held, [3], [], child))
        heir = given.claimed(store, child.bundle.bundle_id, "heir")
        store.commit(given.commit(heir, [4, 5]))
        pages = {page.bundle_id: page.payload for page in store.outcome_pages(SESSION, 0, FULL_PAGE)}
        asked = [root_id(0), root_id(1), child.bundle.bundle_id, root_id(8), "nonsense"]
        assert {page.bundle_id: page.payload for page in store.bundle_pages(SESSION, asked)} == pages
        assert len(pages) == 2
        assert store.bundle_pages(SESSION, [root_id(2)]) == []
        assert store.bundle_pages("s-nobody", asked) == []

    def test_root_pages(self, store: SessionStore) -> None:
        """All pages of a range of roots, those of descendants too; nothing of the others."""
        given.running(store, [3] * 5)
        for number in (4, 2, 0, 3):
            held = given.claimed(store, root_id(number), f"token-{number}")
            child = given.child(held, 0, [3 * number + 1, 3 * number + 2])
            store.commit(given.commit(held, [3 * number], [], child))
            heir = given.claimed(store, child.bundle.bundle_id, f"heir-{number}")
            store.commit(given.commit(heir, [3 * number + 1, 3 * number + 2]))
        pages = store.outcome_pages(SESSION, 0, FULL_PAGE)
        for first, last in ((0, 5), (0, 1), (1, 2), (2, 4), (4, 9), (3, 3)):
            found = store.root_pages(SESSION, first, last)
            assert sorted(found, key=lambda page: page.cursor) == [p for p in pages if first <= p.root < last]
            assert [page.root for page in found] == sorted(page.root for page in found)

    def test_blocks(self, store: SessionStore) -> None:
        """In the order of roots, from any on, at most so many; whole however the session went on."""
        given.running(store, [2] * 5)
        _commit_roots(store, [0, 1], set())
        expected = [block for _, block in given.roots([2] * 5)]
        assert store.blocks(SESSION, 0, FULL_PAGE) == expected
        assert store.blocks(SESSION, 1, 2) == expected[1:3]
        assert store.blocks(SESSION, 4, 9) == expected[4:]
        assert store.blocks(SESSION, 5, 9) == []
        assert store.blocks("s-nobody", 0, 9) == []

    def test_blocks_without_events(self, store: SessionStore) -> None:
        """Which tasks they hold, for those who do not need the payloads."""
        given.running(store, [2, 1, 3])
        found = store.blocks(SESSION, 0, FULL_PAGE, events=False)
        assert [(block.root, block.first_index, block.count) for block in found] == [(0, 0, 2), (1, 2, 1), (2, 3, 3)]

    def test_open_bundles(self, store: SessionStore) -> None:
        """Ready and leased ones with their leases, none that is done, by id, in pieces."""
        given.running(store, [2] * 6)
        _commit_roots(store, [1, 4], set())
        held = given.claimed(store, root_id(2), "mine")
        found = store.open_bundles(SESSION, "", FULL_PAGE)
        assert [f.bundle.bundle_id for f in found] == [root_id(number) for number in (0, 2, 3, 5)]
        assert [f.lease for f in found] == [None, held.lease, None, None]
        pieces = []
        after = ""
        while page := store.open_bundles(SESSION, after, 1):
            assert len(page) == 1
            pieces += page
            after = page[-1].bundle.bundle_id
        assert pieces == found
        for root, first in ((0, 0), (2, 1), (3, 2), (4, 3)):
            assert store.open_bundles(SESSION, before_root(root), FULL_PAGE) == found[first:]

    def test_runnable(self, store: SessionStore) -> None:
        """Ready and due, or leased and lapsed: what an agent would be granted now."""
        given.running(store, [2] * 5)
        _commit_roots(store, [0], set())
        parent = given.claimed(store, root_id(1), "parent")
        late = given.child(parent, 0, [2, 3], not_before=NOW + 2 * LEASE)
        store.commit(given.commit(parent, [], [], late))
        given.claimed(store, root_id(2), "live")

        def ids(now: float) -> list[str]:
            return sorted(hint.bundle_id for hint in store.runnable(SESSION, now, FULL_PAGE))

        for now, expected in (
            (NOW, [root_id(3), root_id(4)]),
            (NOW + LEASE + 1, [root_id(2), root_id(3), root_id(4)]),
            (NOW + 2 * LEASE + 1, [late.bundle.bundle_id, root_id(2), root_id(3), root_id(4)]),
        ):
            assert eventually(partial(ids, now), sorted(expected).__eq__) == sorted(expected)
        since = {hint.bundle_id: hint.not_before for hint in store.runnable(SESSION, NOW + 2 * LEASE + 1, FULL_PAGE)}
        assert (since[root_id(2)], since[late.bundle.bundle_id]) == (NOW + LEASE, NOW + 2 * LEASE)
        assert len(store.runnable(SESSION, NOW, 1)) == 1
        assert store.runnable("s-nobody", NOW, 9) == []
        assert all(isinstance(hint, Hint) and hint.session_id == SESSION for hint in store.runnable(SESSION, NOW, 9))
