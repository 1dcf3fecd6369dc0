"""Calls of several threads made as one, and what a process knows of its sessions without reading."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from htcgrid_core.adapters import locked
from htcgrid_core.adapters.aws.dynamodb import coalescing
from htcgrid_core.adapters.aws.dynamodb.coalescing import Coalescer
from htcgrid_core.adapters.aws.dynamodb.held_leases import FRESH_SECONDS_A_LANE, HeldLeases, is_tidying
from htcgrid_core.adapters.aws.dynamodb.lanes import FEWEST, MOST, lanes_of
from htcgrid_core.adapters.aws.dynamodb.row_cache import RowCache
from htcgrid_core.domain.bundle import Bundle, Child
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.session_store import Commit
from htcgrid_core.testing.contracts.facts import eventually
from tests.interrupts import Interrupt, interrupted_at

PLAIN = [name for name in (f"{number:08d}" for number in range(99)) if not is_tidying(name)]
CHOSEN = next(name for name in (f"{number:08d}" for number in range(99)) if is_tidying(name))
NOW = 1000.0


class TestCoalescer:
    def test_one_call_for_all_that_waited_and_no_more_than_fit(self) -> None:
        parts: list[list[int]] = []
        begun, go_on = threading.Event(), threading.Event()
        coalescer: Coalescer[int, int] = Coalescer(4)

        def call(some: Sequence[int]) -> list[int | Exception]:
            parts.append(list(some))
            begun.set()
            assert go_on.wait(30)
            return [ValueError("five") if part == 5 else -part for part in some]

        with ThreadPoolExecutor(7) as pool:
            first = pool.submit(coalescer.run, "key", 0, 1, call)
            assert begun.wait(30)
            others = [pool.submit(coalescer.run, "key", part, 1, call) for part in range(1, 7)]
            eventually(lambda: len(coalescer._waiting.get("key", ())), lambda count: count == 7)
            go_on.set()
            assert first.result() == 0
            for part, future in enumerate(others, 1):
                if part == 5:
                    with pytest.raises(ValueError, match="five"):
                        future.result()
                else:
                    assert future.result() == -part
        assert sorted(map(len, parts)) == [1, 2, 4]
        assert sorted(part for some in parts for part in some) == list(range(7))
        assert coalescer._waiting == {}

    def test_what_a_call_raises_is_raised_for_each(self) -> None:
        def call(some: Sequence[int]) -> list[int | Exception]:
            raise KeyError(some[0])

        with pytest.raises(KeyError):
            Coalescer[int, int](4).run("key", 1, 9, call)

    def test_a_leader_that_is_interrupted_leaves_its_call_to_those_who_wait(self) -> None:
        """Who hear nothing of the interruption."""
        begun, go_on = threading.Event(), threading.Event()
        coalescer: Coalescer[int, int] = Coalescer(4)

        def interrupted(some: Sequence[int]) -> list[int | Exception]:
            begun.set()
            assert go_on.wait(30)
            raise KeyboardInterrupt

        with ThreadPoolExecutor(4) as pool:
            leader = pool.submit(coalescer.run, "key", 0, 1, interrupted)
            assert begun.wait(30)
            others = [pool.submit(coalescer.run, "key", part, 1, negatives) for part in range(1, 4)]
            eventually(lambda: len(coalescer._waiting["key"]), lambda count: count == 4)
            go_on.set()
            with pytest.raises(KeyboardInterrupt):
                leader.result(30)
            assert [future.result(30) for future in others] == [-1, -2, -3]
        assert coalescer._waiting == {}

    def test_at_whatever_line_a_leader_is_interrupted(self) -> None:
        """Another thread's call is made, before and after."""
        line = 0
        while True:
            line += 1
            coalescer: Coalescer[int, int] = Coalescer(4)
            begun = threading.Event()

            def call(some: Sequence[int], coalescer: Coalescer[int, int] = coalescer) -> list[int | Exception]:
                if not begun.is_set():  # noqa: B023 - this round's
                    begun.set()  # noqa: B023
                    eventually(lambda: len(coalescer._waiting["key"]), lambda count: count == 2)
                return negatives(some)

            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(lambda: begun.wait(30) and coalescer.run("key", 2, 1, negatives))  # noqa: B023
                with interrupted_at(line, coalescing, locked) as seen, contextlib.suppress(Interrupt):
                    coalescer.run("key", 1, 1, call)
                begun.set()  # if it did not get so far
                assert waiting.result(30) == -2
            assert coalescer.run("key", 3, 1, negatives) == -3
            if seen[0] < line:
                break
        assert line > 8


def negatives(some: Sequence[int]) -> list[int | Exception]:
    """A call's answers."""
    return [-part for part in some]


def done(bundle_id: str, *, failed: int = 0, now: float = NOW) -> Commit:
    return Commit("s", bundle_id, "token", now, None, 1 - failed, failed)


class TestHeldLeases:
    @pytest.fixture
    def time(self) -> list[float]:
        return [0.0]

    @pytest.fixture
    def held_leases(self, time: list[float]) -> HeldLeases:
        """Three leases, and counters that were just read."""
        found = HeldLeases(lambda: time[0])
        for name in (*PLAIN[:3], CHOSEN):
            found.leased("place", name, NOW + 30.0, NOW)
        found.counters_read("place")
        return found

    def test_other_leases_say_that_it_goes_on(self, held_leases: HeldLeases) -> None:
        assert not held_leases.committed("place", 8, [done(PLAIN[0])])
        assert not held_leases.committed("place", 8, [done(PLAIN[1]), done(PLAIN[2])])
        assert held_leases.committed("place", 8, [done(CHOSEN)])
        assert (held_leases._held, held_leases._read_at) == ({}, {})

    def test_lapsed_ones_do_not(self, held_leases: HeldLeases) -> None:
        assert held_leases.committed("place", 8, [done(PLAIN[0], now=NOW + 30.0)])

    def test_children_do(self, held_leases: HeldLeases) -> None:
        lease = Lease(2, "next", NOW + 30.0, "agent")
        child = Child(Bundle("s", f"{PLAIN[0]}.a", 0, (0,), {}, 0, 0.0, 0.0), lease)
        held_leases.released("place", [*PLAIN[1:3], CHOSEN])
        held_leases.leased("place", PLAIN[5], NOW + 30.0, NOW)
        assert not held_leases.committed("place", 8, [replace(done(PLAIN[0]), children=(child,))])
        assert set(held_leases._held["place"]) == {PLAIN[5], f"{PLAIN[0]}.a"}

    def test_counters_that_are_old_a_failure_and_one_in_sixteen(
        self, held_leases: HeldLeases, time: list[float]
    ) -> None:
        assert held_leases.committed("place", 8, [done(PLAIN[0], failed=1)])
        assert held_leases.committed("place", 8, [done(CHOSEN)])
        time[0] += 8 * FRESH_SECONDS_A_LANE + 0.1
        assert held_leases.committed("place", 8, [done(PLAIN[1])])

    def test_another_place_is_another(self, held_leases: HeldLeases) -> None:
        assert held_leases.committed("elsewhere", 8, [done(PLAIN[0])])


@pytest.mark.parametrize(("agents", "lanes"), [(1, FEWEST), (64, 16), (3125, MOST)])
def test_lanes_of(agents: int, lanes: int) -> None:
    assert lanes_of(SessionSpec(function=FunctionSpec(name="a.b"), agents=agents).text) == lanes


class TestRowCache:
    def test_what_was_read_meanwhile_may_have_the_change_already(self) -> None:
        """Counting it twice would end a session before its last task."""
        cache: RowCache[int] = RowCache()
        assert cache.add("s", cache.number("s"), lambda known: known + 1) is None
        cache.put("s", 10)
        before = cache.number("s")
        assert cache.add("s", before, lambda known: known + 1) == 11
        assert cache.add("s", before, lambda known: known + 1) == 12
        cache.put("s", 12)
        assert cache.add("s", before, lambda known: known + 1) is None
        assert cache.get("s") == 12


def test_locks_are_free_in_a_forked_child() -> None:
    """Which has none of the threads that held them."""
    lock = locked.new_lock()
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            assert over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0 if lock.acquire(blocking=False) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not lock.acquire(blocking=False)
    over.set()
    thread.join(60)
