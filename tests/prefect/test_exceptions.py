"""Exceptions that the flow's process cannot load: one state, here and on the server, that says what they were."""

from __future__ import annotations

import os
from typing import Any

import pytest
from prefect import flow, runtime, task
from prefect.exceptions import CrashedRun

from htcgrid_core import TaskFailed
from htcgrid_prefect import HTCGridTaskRunner
from tests.prefect.support import states, told


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


class OnlyThere:
    """A result that can be loaded in its worker alone."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _only_in, (os.getpid(),)


def _only_in(pid: int) -> OnlyThere:
    if os.getpid() != pid:
        raise LookupError("another process")
    return OnlyThere()


@pytest.mark.parametrize("engine", ["prefect", "grid"])
def test_a_result_that_cannot_be_loaded_is_crashed_here_and_on_the_server(shared_grid_url: str, engine: Any) -> None:
    """As soon as somebody asks for it: until then nobody knows."""

    @task
    def unloadable() -> OnlyThere:
        return OnlyThere()

    @flow(task_runner=HTCGridTaskRunner(shared_grid_url, engine=engine))
    def book() -> tuple[str, Any]:
        future: Any = unloadable.submit()
        for _ in range(2):
            with pytest.raises(CrashedRun, match="cannot be loaded here: LookupError: another process"):
                future.result()
        return str(runtime.flow_run.id), future.state

    flow_run_id, state = book()
    assert state.name == "Crashed"
    (run,) = told(flow_run_id, {"Crashed": 1})
    assert [found["name"] for found in states(run)][-2:] == ["Completed", "Crashed"]
