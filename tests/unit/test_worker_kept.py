"""What a worker keeps of earlier sessions is bounded by its size."""

from __future__ import annotations

from htcgrid_core.agent.workers.native import kept
from htcgrid_core.agent.workers.native.kept import Kept


def test_the_bytes_of_all_are_bounded() -> None:
    functions: Kept[str] = Kept(256, 100)
    for name in "abcd":
        functions.put(name, name, 40)
    assert [functions.get(name) for name in "abcd"] == [None, None, "c", "d"]


def test_the_number_of_all_is_bounded() -> None:
    functions: Kept[str] = Kept(2, 100)
    for name in "abc":
        functions.put(name, name)
    assert [functions.get(name) for name in "abc"] == [None, "b", "c"]


def test_the_last_is_kept_however_large_it_is() -> None:
    functions: Kept[str] = Kept(256, 100)
    functions.put("a", "a", 10)
    functions.put("b", "b", 1000)
    assert (functions.get("a"), functions.get("b")) == (None, "b")
    functions.put("c", "c", 10)
    assert (functions.get("b"), functions.get("c"), len(functions)) == (None, "c", 1)


def test_what_was_used_lately_stays() -> None:
    functions: Kept[str] = Kept(256, 100)
    functions.put("a", "a", 40)
    functions.put("b", "b", 40)
    functions.get("a")
    functions.put("c", "c", 40)
    assert (functions.get("a"), functions.get("b")) == ("a", None)


def test_what_is_kept_twice_counts_once() -> None:
    functions: Kept[str] = Kept(256, 100)
    for _ in range(5):
        functions.put("a", "a", 40)
    functions.put("b", "b", 40)
    assert len(functions) == 2
    functions.clear()
    assert (len(functions), functions.get("a")) == (0, None)


def test_a_small_worker_keeps_less() -> None:
    for make in (kept.functions, kept.shared_inputs):
        room = make(64)
        for number in range(8):
            room.put(str(number), number, 4 << 20)
        assert len(room) * 4 <= 16
