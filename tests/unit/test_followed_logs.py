"""``htcgrid logs --follow`` prints nothing twice, whatever its polls see of a task in between."""

from __future__ import annotations

from typing import Any

import pytest

from htcgrid_core.cli.logs import Told
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskError, TaskOutcome

ERROR = TaskError("ValueError", "no", "Traceback ...")


def seen(state: str, attempts: int, stdout: str = "", error: TaskError | None = None) -> TaskOutcome:
    return TaskOutcome(0, TaskState(state), attempts=attempts, stdout=stdout, error=error)


@pytest.mark.parametrize(
    ("polls", "printed"),
    [
        ([seen("RUNNING", 1, "a"), seen("QUEUED", 0), seen("RUNNING", 1, "ab"), seen("COMPLETED", 1, "abc")], "abc"),
        ([seen("RUNNING", 1, "a"), seen("RUNNING", 1), seen("RUNNING", 1, "ab")], "ab"),
        ([seen("RUNNING", 1, "a"), seen("RETRY", 1, "ab", ERROR), seen("RUNNING", 2, "c")], "abc"),
        ([seen("RUNNING", 2, "a", None), seen("RETRY", 1, "z", ERROR), seen("RUNNING", 2, "ab")], "ab"),
        ([seen("QUEUED", 0), seen("RUNNING", 1, "a"), seen("FAILED", 1, "ab", ERROR)], "ab"),
        ([seen("RETRY", 1, "a", ERROR), seen("RUNNING", 2, "a", ERROR), seen("COMPLETED", 2, "b")], "ab"),
    ],
)
def test_nothing_twice(polls: list[TaskOutcome], printed: str) -> None:
    found: list[str] = []

    def write(text: str, **_: Any) -> None:
        found.append(text)

    told = Told(write)
    for task in polls:
        told.tell(task)
    assert "".join(found) == printed
