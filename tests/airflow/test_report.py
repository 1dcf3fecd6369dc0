"""What sessions say in a task's log is text: it moves no cursor, forges no line and opens no group."""

from __future__ import annotations

import pytest

from htcgrid_airflow.report import failure_table, progress_line
from htcgrid_core import Progress, SessionState, TaskError, TaskFailed

FORGED = "x\n::endgroup::\n##[error]\x1b[2J\x9b2J\rx"


@pytest.fixture
def lines() -> list[str]:
    progress = Progress("s-1234", FORGED, SessionState.FAILED, 1, 0, 1, 0, 0, 0.0, 1.0, FORGED)
    table = failure_table([TaskFailed("s-1234", 0, TaskError(FORGED, FORGED, FORGED))], 1)
    assert "\n" not in progress_line(progress)
    return [progress_line(progress), *table.split("\n")]


def test_nothing_in_it_is_obeyed(lines: list[str]) -> None:
    for line in lines:
        assert not set("\x1b\x9b\r\n") & set(line)
        assert not line.lstrip().startswith("::")
        assert "##[" not in line


def test_all_of_it_is_shown(lines: list[str]) -> None:
    assert sum("endgroup" in line for line in lines) == 3
