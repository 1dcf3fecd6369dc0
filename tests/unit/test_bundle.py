"""Bundles: sizes, splitting, and children that a repeated commit makes again."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core.domain import limits
from htcgrid_core.domain.bundle import Block, Bundle, bundle_size, child_id, child_of, root_id, share_size, split
from htcgrid_core.domain.payload import Payload

counts = st.integers(0, 10_000_000)
agents = st.integers(0, 10_000)


@given(counts, agents)
def test_size_at_submit(tasks: int, reachable: int) -> None:
    """clamp(tasks / (2 * agents), 1, 256)."""
    size = bundle_size(tasks, reachable)
    assert 1 <= size <= limits.MAX_BUNDLE_TASKS
    if 1 < size < limits.MAX_BUNDLE_TASKS:
        assert size == tasks // (2 * max(1, reachable))
        assert -(-tasks // size) >= 2 * reachable  # everybody gets two


@given(counts, counts, agents)
def test_size_of_a_share(slice_tasks: int, pending: int, reachable: int) -> None:
    """No more than one slice's work, and no more than half an even share of what is left."""
    size = share_size(slice_tasks, pending, reachable)
    assert 1 <= size <= limits.MAX_BUNDLE_TASKS
    if size > 1:
        assert size <= slice_tasks
        assert size * 2 * max(1, reachable) <= pending


@given(st.lists(st.integers(0, 10**7), unique=True, max_size=600).map(sorted), st.integers(-3, 700))
def test_split_loses_and_doubles_nothing(indexes: list[int], size: int) -> None:
    pieces = [list(piece) for piece in split(indexes, size)]
    assert [index for piece in pieces for index in piece] == indexes
    lengths = [len(piece) for piece in pieces]
    assert all(1 <= length <= max(1, size) for length in lengths)
    assert max(lengths, default=0) - min(lengths, default=0) <= 1


@given(st.integers(0, 99_999_998))
def test_ids_of_roots_sort_like_their_numbers(number: int) -> None:
    assert root_id(number) < root_id(number + 1)
    assert int(root_id(number)) == number


def test_ids_of_children_repeat_and_differ() -> None:
    """The same commit makes the same ids; another parent, epoch or place makes others. They sort behind their root."""
    parents = [Bundle("s-1", root_id(root), root, range(5)) for root in (3, 4)]
    children = [Bundle("s-1", child_id(parents[0], 1, 0), 3, (1, 2))]
    ids = [child_id(p, epoch, n) for p in (*parents, *children) for epoch in range(1, 30) for n in range(50)]
    assert len(set(ids)) == len(ids)
    assert ids == [child_id(p, epoch, n) for p in (*parents, *children) for epoch in range(1, 30) for n in range(50)]
    assert all(root_id(3) < child_id(parents[0], 1, n) < root_id(4) for n in range(50))


def test_a_child_knows_what_was_known_of_its_tasks() -> None:
    parent = Bundle("s-1", root_id(3), 3, (1, 2, 3), {1: 2, 3: 1}, crashes=1, not_before=5.0, rank=7.0)
    child = child_of(parent, "00000003.x", [1, 2], not_before=9.0)
    assert child == Bundle("s-1", "00000003.x", 3, (1, 2), {1: 2}, crashes=1, not_before=9.0, rank=7.0)
    assert [child.attempt(index) for index in (1, 2)] == [4, 2]


@given(st.integers(0, 10), st.integers(0, 10))
def test_attempts_count_failures_and_crashes(failures: int, crashes: int) -> None:
    bundle = Bundle("s-1", root_id(0), 0, range(3), {1: failures} if failures else {}, crashes=crashes)
    assert bundle.attempt(1) == failures + crashes + 1
    assert bundle.attempt(0) == crashes + 1


def test_a_folder_is_not_in_the_checksum() -> None:
    """A release without folders may go on with a submission of one with them; other events are told all the same."""

    def checksum(key: str) -> int:
        return Block(0, 0, 1, Payload.blob(key, 10)).checksum

    without = "sessions/s-1/events/00000000-aa"
    assert checksum(without) == checksum("sessions/s-1/folder/events/00000000-aa") == zlib.crc32(without.encode())
    assert checksum(without) != checksum("sessions/s-1/folder/events/00000000-bb")
    assert Block(0, 0, 1, Payload.inline(b"[1]")).checksum == zlib.crc32(b"[1]")
