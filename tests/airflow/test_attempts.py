"""Exactly one session for each logical attempt, whatever became of the workers before."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from htcgrid_airflow.attempt import KILLED, Attempt, place_of
from htcgrid_airflow.operators import HTCGridSubmitOperator
from htcgrid_core import Grid, GridUnavailable, Session, SessionFailed, SessionState
from tests.airflow.handlers import below_repair, hold
from tests.airflow.steps import Step, Store, deferred_by


def events(folder: Path, count: int = 6) -> list[dict[str, Any]]:
    """Events for ``below_repair`` and ``hold``."""
    return [{"number": n, "folder": str(folder), "gate": str(folder / "gate")} for n in range(count)]


def operator(url: str, folder: Path, **arguments: Any) -> HTCGridSubmitOperator:
    """Submits tasks of which the odd ones fail until they are repaired."""
    given = {"function": below_repair, "tasks": events(folder), "retry": {"max_attempts": 1}, "result": "inline"}
    return HTCGridSubmitOperator(task_id="fan_out", grid=url, **{**given, **arguments})


def waiting(url: str, folder: Path, **arguments: Any) -> HTCGridSubmitOperator:
    """Submits tasks that wait for a gate, and defers."""
    return operator(url, folder, function=hold, deferrable=True, **arguments)


def sessions_of(grid: Grid, step: Step) -> list[Session]:
    """All sessions of a step, oldest first."""
    return grid.sessions(labels={"airflow.run": step.run_id})[::-1]


def executions(folder: Path) -> list[int]:
    """The tasks executed so far."""
    return sorted(map(int, (folder / "executions").read_text().split()))


def test_a_retry_runs_only_what_failed(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    step = Step(retries=1, max_tries=1)
    with pytest.raises(SessionFailed, match="3 of 6 tasks failed"):
        operator(grid_url, tmp_path).execute(step.context())
    (tmp_path / "repaired").touch()
    assert operator(grid_url, tmp_path).execute(step.retried().context()) == [0, 1, 2, 3, 4, 5], "merged"
    assert executions(tmp_path) == [0, 1, 1, 2, 3, 3, 4, 5, 5]
    first, second = sessions_of(grid, step)
    assert second.spec.parent_id == first.id


def test_a_tenants_retry_comes_back_to_the_tenants_session(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    step = Step(retries=1, max_tries=1)
    with pytest.raises(SessionFailed, match="3 of 6 tasks failed"):
        operator(grid_url, tmp_path, tenant="rates").execute(step.context())
    (tmp_path / "repaired").touch()
    assert operator(grid_url, tmp_path, tenant="rates").execute(step.retried().context()) == [0, 1, 2, 3, 4, 5]
    first, second = sessions_of(grid, step)
    assert second.spec.parent_id == first.id
    assert [session.id.partition(".")[0] for session in grid.sessions(tenant="rates")] == ["rates", "rates"]


def test_the_manifest_of_a_retry_counts_the_whole_vector(grid_url: str, tmp_path: Path) -> None:
    step = Step(retries=1, max_tries=1)
    with pytest.raises(SessionFailed):
        operator(grid_url, tmp_path).execute(step.context())
    (tmp_path / "repaired").touch()
    manifest = operator(grid_url, tmp_path, result="manifest").execute(step.retried().context())
    assert (manifest["total"], manifest["completed"], manifest["failed"]) == (6, 6, 0)


def test_failures_of_a_retry_have_the_indexes_of_the_vector(grid_url: str, tmp_path: Path) -> None:
    step = Step(retries=1, max_tries=1)
    for each in (step, step.retried()):
        with pytest.raises(SessionFailed) as failed:
            operator(grid_url, tmp_path).execute(each.context())
        assert [failure.index for failure in failed.value.failures] == [1, 3, 5]


def test_a_retry_of_everything_if_so_told(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    step = Step(retries=1, max_tries=1)
    with pytest.raises(SessionFailed):
        operator(grid_url, tmp_path).execute(step.context())
    (tmp_path / "repaired").touch()
    operator(grid_url, tmp_path, retry_failed_only=False).execute(step.retried().context())
    assert executions(tmp_path) == sorted([0, 1, 2, 3, 4, 5] * 2)
    assert sessions_of(grid, step)[1].spec.parent_id is None


@pytest.mark.parametrize("with_store", [True, False])
def test_a_worker_that_died_while_it_waited(grid_url: str, grid: Grid, tmp_path: Path, with_store: bool) -> None:
    """Airflow 3.1 has no task state store, and any may lose it: the grid is asked then."""
    step = Step(retries=1, max_tries=1, store=Store() if with_store else None)
    first = deferred_by(waiting(grid_url, tmp_path), step.context())
    again = deferred_by(waiting(grid_url, tmp_path), step.retried().context())
    assert again.session_id == first.session_id
    assert again.owner != first.owner
    assert len(sessions_of(grid, step)) == 1
    (tmp_path / "gate").touch()
    grid.session(again.session_id).wait(60)


def test_a_worker_that_died_after_the_end(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    """Between the session's end and the task's: the next attempt only collects."""
    (tmp_path / "repaired").touch()
    step = Step(retries=1, max_tries=1)
    operator(grid_url, tmp_path).execute(step.context())
    assert operator(grid_url, tmp_path).execute(step.retried().context()) == [0, 1, 2, 3, 4, 5]
    assert executions(tmp_path) == [0, 1, 2, 3, 4, 5]


class Died(BaseException):
    """What stands for a kill: nothing cleans up after it."""


def test_a_worker_that_died_while_it_submitted(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    """The session is not acknowledged: the next attempt submits the same again, under the same token."""

    def dying(count: int, fatal: str) -> Any:
        for number in range(count):
            if number == count // 2 and os.path.exists(fatal):
                os.unlink(fatal)
                raise Died
            yield {"number": number, "folder": str(tmp_path), "text": "x" * 1000}

    count = 20_000
    arguments: dict[str, Any] = {
        "function": "tests.airflow.handlers.number_of",
        "tasks": dying,
        "tasks_kwargs": {"count": count, "fatal": str(tmp_path / "fatal")},
        "result": "manifest",
    }
    (tmp_path / "fatal").touch()
    step = Step(retries=1, max_tries=1)
    with pytest.raises(Died):
        operator(grid_url, tmp_path, **arguments).execute(step.context())
    (begun,) = sessions_of(grid, step)
    assert begun.progress().state is SessionState.SUBMITTED
    manifest = operator(grid_url, tmp_path, **arguments).execute(step.retried().context())
    assert (manifest["session_id"], manifest["completed"]) == (begun.id, count)
    assert len(sessions_of(grid, step)) == 1


def test_events_that_are_never_twice_the_same(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    """What was begun cannot be carried on with others: it is cancelled, and the vector submitted afresh."""
    fatal = tmp_path / "fatal"
    fatal.touch()

    def random() -> Any:
        yield from (os.urandom(512).hex() for _ in range(10_000))
        if fatal.exists():
            fatal.unlink()
            raise Died

    arguments: dict[str, Any] = {"function": "tests.airflow.handlers.length_of", "tasks": random, "result": "manifest"}
    step = Step(retries=1, max_tries=1)
    with pytest.raises(Died):
        operator(grid_url, tmp_path, **arguments).execute(step.context())
    manifest = operator(grid_url, tmp_path, **arguments).execute(step.retried().context())
    assert manifest["completed"] == 10_000
    first, second = sessions_of(grid, step)
    assert second.id == manifest["session_id"]
    assert first.wait(60).state is SessionState.CANCELLED


def test_a_clear_of_a_finished_task_starts_afresh(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "repaired").touch()
    step = Step()
    operator(grid_url, tmp_path).execute(step.context())
    operator(grid_url, tmp_path).execute(step.cleared().context())
    assert executions(tmp_path) == sorted([0, 1, 2, 3, 4, 5] * 2)
    assert len(sessions_of(grid, step)) == 2


def test_a_clear_of_a_failed_task_starts_afresh(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    step = Step()
    for each in (step, step.cleared()):
        with pytest.raises(SessionFailed):
            operator(grid_url, tmp_path).execute(each.context())
    assert [session.spec.parent_id for session in sessions_of(grid, step)] == [None, None]


def test_a_clear_of_a_deferred_task_leaves_nothing_running(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    """The new attempt ends the old session itself: Airflow tells the old trigger only later."""
    step = Step()
    old = deferred_by(waiting(grid_url, tmp_path), step.context())
    new = deferred_by(waiting(grid_url, tmp_path), step.cleared().context())
    assert grid.session(old.session_id).wait(60).state is SessionState.CANCELLED
    assert not grid.session(new.session_id).done()
    (tmp_path / "gate").touch()
    assert grid.session(new.session_id).wait(60).state is SessionState.COMPLETED


def test_a_run_made_again_under_the_same_id_starts_afresh(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    """A deleted run takes its task state with it, but the sessions stay on the grid for days."""
    (tmp_path / "repaired").touch()
    step = Step()
    operator(grid_url, tmp_path).execute(step.context())
    again = Step(run_id=step.run_id, began=step.began + timedelta(hours=1))
    operator(grid_url, tmp_path).execute(again.context())
    assert len(sessions_of(grid, step)) == 2


def test_what_a_user_ended_is_not_merged_with(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    """A clear of a running task looks like a retry to the next attempt, but that Airflow ended the one before."""
    step = Step(retries=1, max_tries=1)
    old = deferred_by(waiting(grid_url, tmp_path), step.context())
    grid.session(old.session_id).cancel(f"{KILLED}, which is now restarting")
    grid.session(old.session_id).wait(60)
    new = deferred_by(waiting(grid_url, tmp_path), step.retried().context())
    assert grid.session(new.session_id).spec.parent_id is None
    grid.session(new.session_id).cancel()


def test_not_durable(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    """Each try its own session, and never two at once."""
    step = Step(retries=1, max_tries=1)
    old = deferred_by(waiting(grid_url, tmp_path, durable=False), step.context())
    new = deferred_by(waiting(grid_url, tmp_path, durable=False), step.retried().context())
    assert grid.session(old.session_id).wait(60).state is SessionState.CANCELLED
    assert grid.session(new.session_id).progress().state is SessionState.RUNNING
    grid.session(new.session_id).cancel()


def test_a_token_of_the_user_is_shared_between_runs(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "repaired").touch()
    token = f"book-{tmp_path}"
    first = operator(grid_url, tmp_path, token=token, result="manifest").execute(Step().context())
    second = operator(grid_url, tmp_path, token=token, result="manifest").execute(Step().context())
    assert first["session_id"] == second["session_id"]


def test_the_token_is_noted_before_submitting(grid_url: str, grid: Grid) -> None:
    step = Step()
    attempt = Attempt(grid, place_of(step.context(), "default"), step.store)
    noted: list[Any] = []

    def submit(token: str) -> Session:
        noted.append(dict(step.store or {}))
        raise GridUnavailable("away")

    with pytest.raises(GridUnavailable):
        attempt.open(submit)
    (before,) = noted
    assert before["htcgrid"]["session_id"].startswith("t-")
    assert before["htcgrid"]["grid"] == grid_url
