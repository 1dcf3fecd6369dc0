"""One task by its index: the same as the listing has, in sessions of every shape and at every stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from htcgrid_core import Grid, InvalidInput, TaskState
from tests.e2e import handlers
from tests.e2e.support import ended, eventually


@pytest.mark.parametrize(("tasks", "bundle_size"), [(1, None), (50, 3), (64, 1), (100, None), (300, 256)])
def test_every_task_of_an_ended_session_is_found(grid: Grid, tasks: int, bundle_size: int | None) -> None:
    session = grid.submit(handlers.square, range(tasks), bundle_size=bundle_size)
    ended(session)
    listed = {task.index: task for task in session.tasks()}
    assert [session.task(index) for index in range(tasks)] == [listed[index] for index in range(tasks)]
    for index in (-1, tasks):
        with pytest.raises(InvalidInput, match=f"{index} is none of them"):
            session.task(index)


def test_tasks_that_run_wait_or_were_cancelled_are_found(grid: Grid, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def wait(path: str) -> None:
        import time

        while not Path(path).exists():
            time.sleep(0.01)

    session = grid.submit(wait, [str(gate)] * 9, bundle_size=3)
    both = {TaskState.RUNNING, TaskState.QUEUED}
    eventually(lambda: {session.task(n).state for n in range(9)} == both, "some tasks run, the others wait")
    session.cancel()
    ended(session)
    assert {session.task(n).state for n in range(9)} == {TaskState.CANCELLED}


def test_a_task_that_failed_is_found_with_what_it_printed(grid: Grid) -> None:
    def fail(event: int) -> int:
        print("about to fail")
        return 1 // event

    session = grid.submit(fail, [1, 0, 1], max_failures=1)
    ended(session)
    task = session.task(1)
    assert (task.state, task.stdout, task.attempts) == (TaskState.FAILED, "about to fail\n", 3)
    assert task.error is not None
    assert task.error.type == "ZeroDivisionError"
