"""Large payloads: arrays that tasks share as one map, and results and events of some megabytes."""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, RetryPolicy, connect
from tests.e2e.support import ended, fresh_grid

np = pytest.importorskip("numpy")
ROWS = 600_000  # of eight bytes: a result of its own is no row of the database
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    """Two slots."""
    with fresh_grid(tmp_path / "grid", slots=2) as url, connect(url) as grid:
        yield grid


def test_workers_share_the_map_of_an_array(grid: Grid) -> None:
    spots = np.arange(ROWS, dtype="f8")
    shared = grid.put({"spots": spots, "paths": np.asfortranarray(np.ones((300, 200))), "few": np.arange(3)})

    def look(market: Any) -> tuple[int, bool, float, list[str]]:
        import time

        time.sleep(0.2)  # so that each worker has its turn
        with open("/proc/self/maps") as file:
            maps = [line.split()[-1] for line in file if "/shared/" in line]
        spots, paths = market["spots"], market["paths"]
        is_in_place = not spots.flags.writeable and spots.ctypes.data % 64 == 0 and paths.flags.f_contiguous
        return os.getpid(), is_in_place, float(spots.sum() + paths.sum() + market["few"].sum()), maps

    found = list(grid.submit(look, [shared] * 6).results())
    assert len({pid for pid, *_ in found}) == 2
    assert all(is_in_place for _, is_in_place, *_ in found)
    assert {total for _, _, total, _ in found} == {float(spots.sum()) + 60_000 + 3}
    assert {Path(name).name for *_, maps in found for name in maps} == {shared.digest}


def test_who_changes_a_shared_array_is_told_to_copy_it(grid: Grid) -> None:
    shared = grid.put(np.zeros(ROWS))

    def change(array: Any) -> float:
        array[0] = 1.0
        return float(array[0])

    session = grid.submit(change, [shared], retry=ONCE)
    ended(session)
    (task,) = session.tasks()
    assert task.error is not None
    assert task.error.message.endswith("workers share it; change a copy of it (array.copy())")
    assert list(grid.submit(lambda array: change(array.copy()), [shared]).results()) == [1.0]


def test_events_and_results_arrive_whole(grid: Grid) -> None:
    arrays = [np.random.default_rng(n).random(ROWS) for n in range(4)]

    def turned(array: Any) -> Any:
        print("turning")
        return array[::-1].copy(), "\N{SNOWMAN}" * 200_000, b"b" * 300_000

    session = grid.submit(turned, arrays)
    for wanted, (result, text, data) in zip(arrays, session.results(), strict=True):
        assert (result[::-1] == wanted).all()
        assert result.flags.writeable
        assert (text, data) == ("\N{SNOWMAN}" * 200_000, b"b" * 300_000)
    assert [task.stdout for task in session.tasks()] == ["turning\n"] * 4
    assert all((found == wanted).all() for found, wanted in zip(session.events(), arrays, strict=True))


def results_mapped() -> int:
    """Maps that this process has of blobs with results."""
    with open("/proc/self/maps") as file:
        return sum("/outcomes/" in line for line in file)


@pytest.mark.skipif(sys.platform != "linux", reason="what is mapped is read from /proc")
@pytest.mark.parametrize("bundle_size", [1, 5])
def test_results_are_maps_that_may_be_written_to(grid: Grid, tmp_path: Path, bundle_size: int) -> None:
    def make(number: int) -> Any:
        return {"odd": "x" * number, "array": np.full(ROWS + number, float(number))}

    before = results_mapped()
    session = grid.submit(make, range(5), bundle_size=bundle_size)
    found = [result["array"] for result in session.results()]
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "grid/blobs/sessions").glob("*/*/outcomes/*/*")}
    assert results_mapped() == before + 5
    assert all(array.ctypes.data % 64 == 0 and array.flags.writeable for array in found)
    for array in found:
        array += 1.0
    assert [float(array[-1]) for array in found] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert [float(result["array"][-1]) for result in session.results()] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert {path: path.stat().st_mtime_ns for path in files} == files
    session.delete()
    assert not any(path.exists() for path in files)
    assert [float(array[-1]) for array in found] == [1.0, 2.0, 3.0, 4.0, 5.0]
    del array, found
    assert results_mapped() == before


def test_a_large_failure_among_large_results(grid: Grid) -> None:
    def one(number: int) -> Any:
        if number == 1:
            raise ValueError("x" * 2_000_000)
        return np.full(ROWS, float(number))

    session = grid.submit(one, range(4), max_failures=1, retry=ONCE)
    found = list(session.results(errors="return"))
    assert [float(found[n][-1]) for n in (0, 2, 3)] == [0.0, 2.0, 3.0]
    assert found[1].error.type == "ValueError"
    assert {task.index for task in session.tasks("FAILED")} == {1}


def test_a_damaged_event_fails_its_task_alone(grid: Grid, tmp_path: Path) -> None:
    begin, files = tmp_path / "begin", tmp_path / "grid/blobs/sessions"

    def wait(_: int) -> None:
        import time

        while not begin.exists():
            time.sleep(0.01)

    waiting = grid.submit(wait, range(2))  # in both slots
    session = grid.submit(lambda array: float(array[-1]), [np.full(ROWS, float(n)) for n in range(3)], retry=ONCE)
    blobs = sorted((files / session.id).glob("*/events/*"))
    assert len(blobs) == 3
    with blobs[1].open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"?")
    begin.touch()
    ended(waiting)
    ended(session)
    tasks = {task.index: task for task in session.tasks()}
    assert (tasks[0].result, tasks[2].result) == (0.0, 2.0)
    assert tasks[1].error is not None
    assert tasks[1].error.type == "CorruptPayload"


@pytest.mark.parametrize("how", ["map", "results", "as_completed"])
def test_results_that_are_streamed_are_not_held(grid: Grid, how: str) -> None:
    count, size = 12, 8 * ROWS

    def make(number: int) -> Any:
        return np.full(ROWS, float(number))

    session = grid.submit(make, range(count))
    ended(session)
    streams: dict[str, Callable[[], Iterator[Any]]] = {
        "map": lambda: grid.map(make, range(count)),
        "results": session.results,
        "as_completed": lambda: (task.result for task in session.as_completed()),
    }
    tracemalloc.start()
    try:
        seen = {float(result[0]) for result in streams[how]()}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == {float(n) for n in range(count)}
    assert peak < size  # each is in pages of its own, which are not traced; of those that nobody holds, there are none
