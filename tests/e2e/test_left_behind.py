"""A grid and its executor in a forked child, and what is left of those that nobody closed."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from htcgrid_core import connect
from tests.e2e import handlers
from tests.e2e.support import eventually


def in_child(work: Callable[[], object]) -> int:
    """The exit code of a forked child that does some work; a negative one if it hangs."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_an_executor_in_a_forked_child_starts_anew(url: str, tmp_path: Path) -> None:
    """Whatever its parent's threads were doing; the parent gets its results."""
    gate = tmp_path / "gate"
    with connect(url) as grid, grid.executor() as pool:
        futures = [pool.submit(handlers.pass_first, n, str(gate)) for n in range(2)]
        eventually(lambda: grid.sessions(limit=1), "the calls are sent")

        def work() -> None:
            assert pool.submit(abs, -2).result(50) == 2
            with grid.executor() as another:
                assert another.submit(abs, -3).result(50) == 3
            pool.shutdown()

        assert in_child(work) == 0
        assert in_child(pool.shutdown) == 0  # as at an exit of the child's
        gate.touch()
        assert [future.result(60) for future in futures] == [0, 1]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("before", [False, True])
def test_a_submit_that_is_interrupted_while_it_starts_threads(
    url: str, number: int, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one starts them, and the end waits for nobody who never ran."""
    real, starts = threading.Thread.start, 0

    def start(thread: threading.Thread) -> None:
        nonlocal starts
        starts += thread.name.startswith("htcgrid")
        is_it = starts == number and thread.name.startswith("htcgrid")
        if is_it and before:
            raise KeyboardInterrupt
        real(thread)
        if is_it:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start)
    with connect(url) as grid, grid.executor() as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.submit(abs, -1)
        assert pool.submit(abs, -2).result(60) == 2


def test_forks_while_threads_submit(url: str) -> None:
    """Each child's calls work, on its parent's grid and on one of its own."""
    over = threading.Event()
    errors: list[BaseException] = []

    def churn() -> None:
        try:
            while not over.is_set():
                assert list(grid.submit(abs, range(-3, 0)).results()) == [3, 2, 1]
        except BaseException as error:
            errors.append(error)

    with connect(url) as grid:
        threads = [threading.Thread(target=churn) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for number in range(6):

                def work(number: int = number) -> None:
                    own = grid if number % 2 else connect(url)
                    assert list(own.submit(abs, [-1, -2]).results()) == [1, 2]

                assert in_child(work) == 0
        finally:
            over.set()
            for thread in threads:
                thread.join(60)
    assert errors == []


def of_this_grid(url: str) -> list[str]:
    """What this process has open in a grid's directory."""
    root = url.removeprefix("local://").partition("?")[0]
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
        if target.startswith(root):
            found.append(target)
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="descriptors are looked up in /proc")
class TestDescriptors:
    def use(self, url: str) -> None:
        """A grid and an executor, in two threads, and none of them closed."""
        grid = connect(url)
        assert list(grid.submit(abs, [-1]).results()) == [1]
        pool = grid.executor()
        assert pool.submit(abs, -2).result(60) == 2
        thread = threading.Thread(target=grid.sessions)
        thread.start()
        thread.join(60)
        next(grid.submit(abs, [-1]).as_completed())  # left in the middle
        assert of_this_grid(url)

    def test_an_unclosed_grid_gives_them_back(self, grid_url: str) -> None:
        """Once nobody can use it any more, and without a warning."""
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            self.use(grid_url)

            def is_clean() -> bool:
                gc.collect()
                return not of_this_grid(grid_url)

            eventually(is_clean, "nothing is open")
        assert [warning for warning in warned if issubclass(warning.category, ResourceWarning)] == []

    def test_close_gives_back_those_of_all_threads(self, grid_url: str) -> None:
        """Also of an executor that goes on, which gets new ones."""
        used, over = threading.Event(), threading.Event()

        def use() -> None:
            grid.sessions()
            used.set()
            assert over.wait(60)
            assert len(grid.sessions()) == 1

        grid = connect(grid_url)
        thread = threading.Thread(target=use)
        thread.start()
        assert used.wait(60)
        assert list(grid.submit(abs, [-1]).results()) == [1]
        grid.close()
        assert of_this_grid(grid_url) == []
        over.set()
        thread.join(60)
        assert of_this_grid(grid_url) == []
