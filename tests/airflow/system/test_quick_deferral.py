"""Sessions that end as soon as their steps have deferred.

Airflow's scheduler hears of a deferring worker's end only once that has exited. If the step is queued again by then,
it takes the news for the end of the resumed one, and fails it; the trigger's ``resume_after`` keeps that away.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from htcgrid_core import Grid
from tests.airflow.system.kills import RUN, TASK, Held
from tests.airflow.system.rest import eventually
from tests.airflow.system.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
AT_ONCE = 6
TAKEN_FOR_KILLED = "but the task instance's state attribute is"


def test_none_is_taken_for_killed(stack: Stack, grid: Grid, signs: Path) -> None:
    steps = [Held(stack, grid, signs, f"quick_{number}").start() for number in range(AT_ONCE)]
    waiting = list(steps)

    def all_have_deferred() -> bool:
        for step in list(waiting):
            if stack.api.task(step.dag_id, RUN, TASK)["state"] == "deferred":
                step.open_gate()
                waiting.remove(step)
        return not waiting

    eventually(all_have_deferred, lambda: f"{[step.dag_id for step in waiting]} have deferred")
    states = [stack.api.run_ended(step.dag_id, RUN) for step in steps]
    assert states == ["success"] * AT_ONCE, "\n".join(step.log() for step in steps)
    said = [line for line in stack["scheduler"].log.read_text().splitlines() if TAKEN_FOR_KILLED in line]
    assert not [line for line in said if "quick_" in line]
