"""What a worker that is told to stop does to its session: end it, if it is still this attempt's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from htcgrid_airflow.compat import AirflowTaskTimeout, TaskDeferralError, TaskDeferralTimeout
from htcgrid_airflow.operators import HTCGridSubmitOperator
from htcgrid_core import Grid, GridError, Session, SessionState
from tests.airflow.handlers import hold
from tests.airflow.steps import Step, deferred_by
from tests.e2e.support import eventually


@pytest.fixture
def operator(grid_url: str, grid: Grid, tmp_path: Path) -> Iterator[HTCGridSubmitOperator]:
    """Submits a session that runs until the test is over."""
    yield HTCGridSubmitOperator(
        task_id="fan_out",
        grid=grid_url,
        function=hold,
        tasks=[{"number": 0, "gate": str(tmp_path / "gate")}],
        labels={"test": tmp_path.name},
        log_interval=0.1,
        execution_timeout=timedelta(seconds=5),
    )
    for session in grid.sessions(labels={"test": tmp_path.name}):
        session.cancel("the test is over")


def the_session(grid: Grid, step: Step) -> Session:
    """The step's one session, once it runs."""
    labels = {"airflow.run": step.run_id}
    (session,) = eventually(lambda: grid.sessions("RUNNING", labels=labels), "the session runs")
    return session


def test_a_blocking_worker_is_killed(operator: HTCGridSubmitOperator, grid: Grid) -> None:
    step = Step()
    raised: list[BaseException] = []

    def execute() -> None:
        try:
            operator.execute(step.context())
        except BaseException as error:
            raised.append(error)

    worker = threading.Thread(target=execute)
    worker.start()
    session = the_session(grid, step)
    eventually(lambda: operator._opened, "it is adopted")
    operator.on_kill()
    worker.join(60)
    assert "Airflow ended the task" in str(raised[0])
    assert session.progress().state is SessionState.CANCELLED


def test_a_zombie_is_killed(operator: HTCGridSubmitOperator, grid: Grid, grid_url: str) -> None:
    """Its task was given to another worker, which has the session."""
    step = Step(retries=1, max_tries=1)
    operator.deferrable = True
    deferred_by(operator, step.context())
    deferred_by(HTCGridSubmitOperator(task_id="fan_out", grid=grid_url, function=hold, tasks=[], deferrable=True),
                step.retried().context())  # fmt: skip
    operator.on_kill()
    assert the_session(grid, step).progress().state is SessionState.RUNNING


def test_killed_while_it_submits(operator: HTCGridSubmitOperator, grid: Grid) -> None:
    """Before there is a session to be found; the worker goes on for a moment after on_kill."""
    step = Step()

    def killing() -> Any:
        operator.on_kill()
        yield {"number": 0, "gate": "/nowhere"}

    operator.tasks = HTCGridSubmitOperator(task_id="x", function=hold, tasks=killing).tasks
    with pytest.raises(GridError, match="is cancelled: Airflow ended the task"):
        operator.execute(step.context())
    (session,) = grid.sessions(labels={"airflow.run": step.run_id})
    assert session.wait(60).state is SessionState.CANCELLED


def test_killed_while_it_is_adopted(
    operator: HTCGridSubmitOperator, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """on_kill still takes it for nobody's, and so leaves it alone."""
    step, adopt = Step(), Session.adopt

    def killed_then(session: Session, owner: str) -> Any:
        adopted = adopt(session, owner)
        operator.on_kill()
        return adopted

    monkeypatch.setattr(Session, "adopt", killed_then)
    with pytest.raises(GridError, match="is cancelled: Airflow ended the task"):
        operator.execute(step.context())
    (session,) = grid.sessions(labels={"airflow.run": step.run_id})
    assert session.wait(60).state is SessionState.CANCELLED


def test_cancel_on_kill_is_a_choice(operator: HTCGridSubmitOperator, grid: Grid) -> None:
    step = Step()
    operator.deferrable, operator.cancel_on_kill = True, False
    deferred_by(operator, step.context())
    operator.on_kill()
    assert the_session(grid, step).progress().state is SessionState.RUNNING


def test_the_execution_timeout_of_a_blocking_worker(
    operator: HTCGridSubmitOperator, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow raises AirflowTaskTimeout from a signal and calls on_kill then; a retry may carry on."""
    step = Step()

    def interrupted(*_: Any, **__: Any) -> None:
        raise AirflowTaskTimeout

    monkeypatch.setattr("htcgrid_airflow.operators.submit.wait_for_end", interrupted)
    with pytest.raises(AirflowTaskTimeout):
        operator.execute(step.context())
    operator.on_kill()
    (session,) = grid.sessions(labels={"airflow.run": step.run_id})
    ended = session.wait(60)
    assert (ended.state, ended.reason) == (SessionState.CANCELLED, "the execution_timeout of its Airflow task is over")


def test_the_execution_timeout_of_a_deferred_task(operator: HTCGridSubmitOperator, grid: Grid) -> None:
    """Airflow resumes the task only to fail it, and calls neither on_kill nor execute_complete."""
    step = Step()
    operator.deferrable = True
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(step.context())
    assert deferred.value.timeout == timedelta(seconds=5)
    session = the_session(grid, step)
    with pytest.raises(TaskDeferralTimeout):
        operator.resume_execution("__fail__", {"error": "Trigger timeout"}, step.context())
    assert session.wait(60).state is SessionState.CANCELLED


@pytest.mark.parametrize(("retries", "ended"), [(0, True), (1, False)])
def test_the_trigger_failed(operator: HTCGridSubmitOperator, grid: Grid, retries: int, ended: bool) -> None:
    """The next attempt comes back to the session, if there is one."""
    step = Step(retries=retries, max_tries=retries)
    operator.deferrable = True
    deferred_by(operator, step.context())
    session = the_session(grid, step)
    with pytest.raises(TaskDeferralError):
        operator.resume_execution("__fail__", {"error": "Trigger failure"}, step.context())
    assert (session.progress().state in (SessionState.CANCELLING, SessionState.CANCELLED)) is ended
