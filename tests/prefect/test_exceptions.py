"""Exceptions that the flow's process cannot load: one state, here and on the server, that says what they were."""

from __future__ import annotations

from typing import Any

import pytest
from prefect import flow, runtime, task

from htcgrid_core import TaskFailed
from htcgrid_prefect import HTCGridTaskRunner
from tests.prefect.support import told


class OfTwo(Exception):
    """Passes on fewer arguments than it is made with: its pickle cannot be loaded."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} and {right}")


class Open(Exception):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("open")
        self.generator = (number for number in range(1))


@task
def raises(how: str) -> None:
    raise OfTwo(1, 2) if how == "OfTwo" else Open()


@pytest.mark.parametrize(("how", "text"), [("OfTwo", "1 and 2"), ("Open", "open")])
def test_it_is_failed_with_type_text_and_traceback(shared_grid_url: str, how: str, text: str) -> None:
    @flow(task_runner=HTCGridTaskRunner(shared_grid_url))
    def book() -> tuple[str, Any]:
        future = raises.submit(how)
        future.wait()
        return str(runtime.flow_run.id), future.state

    flow_run_id, state = book()
    assert (state.type.value, state.name) == ("FAILED", "Failed")
    assert f"{how}: {text}" in state.message
    (run,) = told(flow_run_id, {"Failed": 1})
    assert run.state is not None
    assert run.state.message == state.message
    raised = state.result(raise_on_failure=False)
    assert isinstance(raised, TaskFailed)
    assert (raised.error.type, raised.error.message) == (how, text)
    assert "in raises" in raised.error.traceback
