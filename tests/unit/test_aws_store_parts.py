"""Parts of the DynamoDB store, each alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.commit_transaction import (
    WEIGHT_BYTES,
    CommitPart,
    commit_part,
    lane_write,
    sorted_out,
)
from htcgrid_core.adapters.aws.dynamodb.early_children import EarlyChildren
from htcgrid_core.adapters.aws.dynamodb.keys import GROUP_ROOTS, Place
from htcgrid_core.adapters.aws.dynamodb.root_ranges import RootRanges
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT, Key
from htcgrid_core.domain.bundle import Bundle, Child, root_id
from htcgrid_core.domain.payload import Payload
from htcgrid_core.ports.session_store import Commit

PLACE = Place("s-book", "0123abcd", 3, 604800.0)


class DictTable:
    """What these parts read of a table, over a dictionary.

    Attributes:
        queried: partitions, in the order asked for.
    """

    def __init__(self, items: dict[Key, Item]) -> None:
        self._items = items
        self.queried: list[str] = []
        self.reads = 0

    def get_many(self, keys: Sequence[Key], names: Sequence[str] = ()) -> dict[Key, Item]:
        self.reads += 1
        return {key: self._items[key] for key in keys if key in self._items}

    def query(self, partition: str, low: str, high: str, **_: Any) -> Iterator[Item]:
        self.queried.append(partition)
        return (
            item for (found, sort), item in sorted(self._items.items()) if found == partition and low <= sort <= high
        )


def commit(root: int, *children: Child, failed: int = 0, size: int = 1) -> Commit:
    outcomes = Payload.inline(b"x" * size)
    return Commit("s-book", root_id(root), f"token-{root}", 1000.0 + root, outcomes, 2 - failed, failed, children)


def child(root: int, name: str) -> Child:
    return Child(Bundle("s-book", f"{root_id(root)}.{name}", root, (0,), {}, 0, 0.0, 0.0), None)


class TestCommitTransaction:
    @pytest.fixture
    def parts(self) -> list[CommitPart]:
        """Two writes of the first, one of the second and one of the third."""
        commits = [commit(0, child(0, "a")), commit(1), commit(2)]
        return [commit_part(PLACE, one, one.children) for one in commits]

    def test_only_whose_conditions_failed_is_lost(self, parts: list[CommitPart]) -> None:
        """The items that broke conditions are in the order of the writes, behind that of the counters."""
        assert sorted_out(parts, [None, None, None, {"t": "another"}, None]) == ({parts[1]}, set())
        assert sorted_out(parts, [None, None, {"ix": b""}, None, None]) == ({parts[0]}, set())

    def test_a_bundle_done_under_its_own_token_was_committed_before(self, parts: list[CommitPart]) -> None:
        done = [{"t": f"token-{root}", "d": True} for root in range(3)]
        assert sorted_out(parts, [None, done[0], {"ix": b""}, None, done[0]]) == ({parts[2]}, {parts[0]})

    def test_counters_that_are_closed_lose_all_that_was_not_committed_before(self, parts: list[CommitPart]) -> None:
        found = [{"closed": True}, None, None, {"t": "token-1", "d": True}, None]
        assert sorted_out(parts, found) == ({parts[0], parts[2]}, {parts[1]})

    def test_outcomes_weigh_as_items_do(self) -> None:
        """Four megabytes are the limit of a transaction, as a hundred items are."""
        small, large = commit(0, child(0, "a")), commit(1, size=3 * WEIGHT_BYTES)
        assert [commit_part(PLACE, one, one.children).weight for one in (small, large)] == [2, 1 + 3]

    def test_several_commits_are_one_write_of_the_counters(self) -> None:
        commits = [commit(0), commit(1, failed=1)]
        write = lane_write(PLACE, 2, commits)
        assert write.key == (PLACE.partition(2), "C")
        assert write.arguments["entries"] == [root_id(0), f"{root_id(1)}!"]
        assert [write.arguments[name] for name in ("ok", "bad", "now")] == [3, 1, 1001.0]


class TestEarlyChildren:
    @pytest.mark.parametrize(
        ("parent", "is_born"),
        [({"t": "mine", "d": True}, True), ({"t": "mine"}, False), ({"t": "winner", "d": True}, False), (None, False)],
    )
    def test_born_when_the_parent_is_done_under_the_token_they_name(self, parent: Item | None, is_born: bool) -> None:
        """Of two agents that wrote children of one bundle, only the winner's exist."""
        table = DictTable({} if parent is None else {PLACE.bundle_key(root_id(0)): parent})
        early = {"ix": b"", "par": root_id(0), "pt": "mine"}
        born = EarlyChildren(table).born(PLACE, [early])  # type: ignore[arg-type]  # all that it uses of its table
        assert born == ([early] if is_born else [])

    def test_nothing_is_read_for_others(self) -> None:
        """Nearly all bundles were created by their parent's commit."""
        table = DictTable({})
        others = [{"ix": b""}, {"t": "token"}]
        assert EarlyChildren(table).born(PLACE, others) == others  # type: ignore[arg-type]
        assert table.reads == 0


class TestRootRanges:
    @pytest.fixture
    def table(self) -> DictTable:
        """A bundle of each root, and a child of each."""
        ids = [name for root in range(10 * GROUP_ROOTS) for name in (root_id(root), f"{root_id(root)}.a")]
        return DictTable({key: {PARTITION: key[0], SORT: key[1]} for key in map(PLACE.bundle_key, ids)})

    @pytest.mark.parametrize(
        ("roots", "lanes"),
        [
            (range(80), [0, 1, 2]),
            (range(5, 7), [0]),
            (range(GROUP_ROOTS - 1, GROUP_ROOTS + 1), [0, 1]),
            (range(17, 30), [0, 2]),
            (range(3, 3), []),
        ],
    )
    def test_in_order_and_of_the_lanes_that_hold_them(self, table: DictTable, roots: range, lanes: list[int]) -> None:
        """What other lanes hold is not asked for, since each costs a call."""
        found = [item[SORT] for item in RootRanges(table).bundles(PLACE, roots, ("sk",))]  # type: ignore[arg-type]
        assert found == [f"B#{root_id(root)}{end}" for root in roots for end in ("", ".a")]
        assert table.queried == [PLACE.partition(lane) for lane in lanes]
