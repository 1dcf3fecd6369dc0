"""What users of ``concurrent.futures`` rely on beside calls and maps: nothing is kept, buffers, errors by name."""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import AuthenticationError, Manager
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, InvalidResult, TaskFailed, WorkerCrashed
from tests.e2e.support import GUARD_SECONDS, eventually, run_script


class Result:
    """What can be referred to weakly."""


def make(_: Any) -> Result:
    """A result."""
    return Result()


def die(_: Any) -> None:
    """End this very process."""
    os.kill(os.getpid(), signal.SIGKILL)


def lock(_: Any) -> Any:
    """What cannot be pickled."""
    return threading.Lock()


def append(numbers: Any, number: int) -> int:
    """To what a manager has."""
    numbers.append(number)
    return number


@pytest.fixture
def pool(grid: Grid) -> Iterator[Executor]:
    """An executor."""
    with grid.executor() as executor:
        yield executor


class TestNothingIsKept:
    """No cycle either: what a user lets go of is gone at once."""

    @pytest.fixture(autouse=True)
    def _no_collector(self) -> Iterator[None]:
        gc.collect()
        gc.disable()
        yield
        gc.enable()

    def test_of_a_call(self, pool: Executor) -> None:
        argument = Result()
        future = pool.submit(make, argument)
        result = future.result(GUARD_SECONDS)
        kept = [weakref.ref(thing) for thing in (argument, future, result)]
        del argument, future, result
        eventually(lambda: not any(ref() for ref in kept), "argument, future and result are gone")

    def test_of_a_call_while_others_of_its_session_run(self, pool: Executor, tmp_path: Path) -> None:
        from tests.e2e import handlers

        gate = tmp_path / "gate"
        futures = [pool.submit(handlers.pass_first, number, str(gate)) for number in range(2)]
        first = pool.submit(make, 1)
        kept = weakref.ref(first.result(GUARD_SECONDS))
        del first
        eventually(lambda: kept() is None, "the result is gone")
        gate.touch()
        for future in futures:
            future.result(GUARD_SECONDS)

    @pytest.mark.parametrize("buffersize", [None, 3])
    def test_of_a_map(self, pool: Executor, buffersize: int | None) -> None:
        for result in pool.map(make, range(6), buffersize=buffersize):  # type: ignore[call-arg]  # of Python 3.14
            kept = weakref.ref(result)
            del result
            assert kept() is None

    def test_of_as_completed(self, grid: Grid) -> None:
        for task in grid.submit(make, range(4)).as_completed():
            kept = weakref.ref(task.result)
            del task
            assert kept() is None

    def test_of_maps_that_are_over(self, grid: Grid) -> None:
        with grid.executor() as executor:
            for _ in range(4):
                assert list(executor.map(abs, [-1])) == [1]
            assert len(executor._maps._sessions) <= 1


class TestBuffersize:
    def test_endless_iterables_are_read_as_results_are_taken(self, pool: Any) -> None:
        taken: list[int] = []

        def numbers() -> Iterator[int]:
            for number in itertools.count():
                taken.append(number)
                yield number

        results = pool.map(abs, numbers(), buffersize=4)
        assert len(taken) == 4, "as many calls are made at once"
        assert [next(results) for _ in range(6)] == list(range(6))
        assert len(taken) == 10, "one more for each result"
        results.close()

    @pytest.mark.parametrize("size", [1, 2, 100])
    def test_results_are_those_of_map(self, pool: Any, size: int) -> None:
        assert list(pool.map(pow, [2, 3, 4], [5, 6, 7, 8], buffersize=size)) == [32, 729, 16384]

    def test_what_makes_no_sense(self, pool: Any) -> None:
        with pytest.raises(ValueError, match="buffersize must be None or > 0"):
            pool.map(abs, [1], buffersize=0)
        with pytest.raises(TypeError, match="buffersize must be an integer or None"):
            pool.map(abs, [1], buffersize=1.5)

    def test_time_is_counted_from_the_call(self, pool: Any) -> None:
        results = pool.map(time.sleep, [3600, 3600], buffersize=1, timeout=0.1)
        with pytest.raises(TimeoutError):
            next(results)

    def test_whoever_stops_taking_cancels_what_is_left(self, grid: Grid) -> None:
        with grid.executor(name="left") as pool:
            results: Any = pool.map(time.sleep, [0, 3600, 3600], buffersize=2)
            assert next(results) is None
            results.close()  # or the end of the block would wait for an hour


def test_a_map_of_no_iterables_is_empty(pool: Executor) -> None:
    assert list(pool.map(abs)) == []


class TestErrors:
    """By the names that users of the standard library know."""

    @pytest.mark.parametrize("by", ["submit", "map"])
    def test_a_worker_that_crashes_is_a_broken_executor(self, pool: Executor, by: str) -> None:
        with pytest.raises(BrokenExecutor, match="SIGKILL") as caught:
            pool.submit(die, 1).result(GUARD_SECONDS) if by == "submit" else next(pool.map(die, [1]))
        assert isinstance(caught.value, WorkerCrashed)
        assert isinstance(caught.value, TaskFailed)
        assert not isinstance(caught.value, BrokenProcessPool), "the executor goes on"
        assert pool.submit(abs, -1).result(GUARD_SECONDS) == 1
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), str(again)) == (WorkerCrashed, str(caught.value))

    def test_a_result_that_cannot_be_pickled(self, pool: Executor, grid: Grid) -> None:
        with pytest.raises(pickle.PicklingError, match="cannot pickle"):
            pool.submit(lock, 1).result(GUARD_SECONDS)
        (failure,) = grid.submit(lock, [1]).results(errors="return")
        assert isinstance(failure, InvalidResult)


def test_proxies_of_a_manager_need_its_key(pool: Executor) -> None:
    """The key is of this process; multiprocessing gives it to its own children alone."""
    with Manager() as manager, pytest.raises(AuthenticationError):
        pool.submit(append, manager.list(), 3).result(GUARD_SECONDS)


def test_a_class_of_main_with_slots_comes_back_as_it_is(grid_url: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import dataclasses, sys\n"
        "from htcgrid_core import connect\n"
        "@dataclasses.dataclass(slots=True)\n"
        "class Point:\n"
        "    x: int\n"
        "def make(x):\n"
        "    return Point(x)\n"
        "with connect(sys.argv[1]) as grid, grid.executor() as pool:\n"
        "    print(pool.submit(make, 1).result(), next(pool.map(make, [2])))\n"
    )
    done = run_script(script, grid_url)
    assert done.stdout == "Point(x=1) Point(x=2)\n", done.stderr
