"""Whatever ends an attempt: exactly one session lives, none is orphaned, no live one is cancelled by mistake."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.triggers.base import BaseTrigger

from htcgrid_core import Grid
from tests.airflow.system.kills import RUN, TASK, Held
from tests.airflow.system.rest import eventually
from tests.airflow.system.stack import HEALTH, Stack

pytestmark = pytest.mark.timeout(600)
QUICK = (
    "deferred_failed", "deferred_success", "deferred_clear", "deferred_run_failed", "deferred_dagrun_timeout",
    "deferred_task_timeout", "blocking_failed", "blocking_worker_killed", "worker_killed_before_submit",
    "worker_killed_during_submit", "worker_killed_last_submit",
)  # fmt: skip
Hold = Callable[[str], Held]
told_of_kills = pytest.mark.skipif(
    not hasattr(BaseTrigger, "on_kill"), reason="a trigger is told that its task was ended from Airflow 3.3 on"
)


@pytest.fixture(scope="module")
def hold(stack: Stack, grid: Grid, signs: Path) -> Hold:
    """A run of a DAG by its name. Those of the quick tests are started at once: they wait beside each other."""
    started = {dag_id: Held(stack, grid, signs, dag_id).start() for dag_id in QUICK}

    def held(dag_id: str) -> Held:
        if dag_id not in started:
            started[dag_id] = Held(stack, grid, signs, dag_id).start()
        return started[dag_id]

    return held


@told_of_kills
@pytest.mark.parametrize("state", ["failed", pytest.param("success", marks=pytest.mark.slow)])
def test_marked(hold: Hold, state: str) -> None:
    held = hold(f"deferred_{state}")
    held.waits_in_triggerer()
    held.stack.api.mark(held.dag_id, RUN, TASK, state)
    held.ended("CANCELLED")
    held.in_state(state)
    held.record(f"marked {state} while deferred", "the trigger's on_kill cancels")


@told_of_kills
def test_run_marked_failed(hold: Hold) -> None:
    held = hold("deferred_run_failed")
    held.waits_in_triggerer()
    held.stack.api.set_run_state(held.dag_id, RUN, "failed")
    held.ended("CANCELLED")
    held.record("run marked failed while deferred", "the trigger's on_kill cancels")


@told_of_kills
def test_clear(hold: Hold) -> None:
    held = hold("deferred_clear")
    held.waits_in_triggerer()
    held.stack.api.clear(held.dag_id, RUN, TASK)
    eventually(lambda: len(held.sessions()) == 2, "the cleared step submits anew")
    held.ended("CANCELLED", "RUNNING")
    held.in_state("deferred")
    held.succeeds()
    held.ended("CANCELLED", "COMPLETED")
    held.record("cleared while deferred", "the old session is cancelled, and not the new one")


def test_blocking_marked_failed(hold: Hold) -> None:
    held = hold("blocking_failed")
    held.one_lives()
    held.stack.api.mark(held.dag_id, RUN, TASK, "failed")
    held.ended("CANCELLED")
    held.record("marked failed while it blocks", "the operator's on_kill cancels")


def test_worker_killed_while_it_waits(hold: Hold) -> None:
    held = hold("blocking_worker_killed")
    session = held.one_lives()
    os.kill(held.stack.api.task(held.dag_id, RUN, TASK)["pid"], signal.SIGKILL)
    eventually(lambda: held.stack.api.task(held.dag_id, RUN, TASK)["try_number"] == 2, "Airflow tries again")
    held.in_state("running")
    assert held.one_lives().id == session.id
    held.succeeds()
    held.ended("COMPLETED")
    held.record("worker SIGKILLed while it blocks", "the retry takes the session over")


@pytest.mark.parametrize("moment", ["before", pytest.param("during", marks=pytest.mark.slow), "last"])
def test_worker_killed_at_submit(hold: Hold, signs: Path, moment: str) -> None:
    held = hold(f"worker_killed_{moment}_submit")
    stumbled = signs / held.dag_id / "stumbled"
    eventually(stumbled.exists, lambda: f"the submit is held\n{held.log()}")
    os.kill(int(stumbled.read_text()), signal.SIGKILL)
    held.succeeds()
    held.ended("COMPLETED")
    told = held.sessions()[0].progress()
    assert told.total == told.completed == 24_000
    when = {"before": "before submit", "during": "amid submit", "last": "at the last event of submit"}[moment]
    held.record(f"worker SIGKILLed {when}", "the retry goes on with the same session")


def test_triggerer_killed(hold: Hold) -> None:
    held = hold("deferred_triggerer_killed")
    session = held.waits_in_triggerer()
    held.stack["triggerer"].signal(signal.SIGKILL)
    held.stack.forget("triggerer")
    held.stack.start("triggerer")
    held.succeeds()
    held.ended("COMPLETED")
    assert held.sessions()[0].id == session.id
    held.record("triggerer SIGKILLed, another started", "it waits for the same session")


# A minute is counted from a step's start: long enough to submit while all the others start, and over by now.


def test_task_timeout(hold: Hold) -> None:
    held = hold("deferred_task_timeout")
    held.in_state("failed")
    held.ended("CANCELLED")
    held.record("`execution_timeout` while deferred", "the attempt that Airflow ends cancels")


@told_of_kills
def test_dagrun_timeout(hold: Hold) -> None:
    held = hold("deferred_dagrun_timeout")
    held.in_state("skipped")
    held.ended("CANCELLED")
    held.record("`dagrun_timeout` while deferred", "the trigger's on_kill cancels")


# Slow: they wait for Airflow to notice by its timeouts.


@pytest.mark.slow
def test_triggerer_stalls_and_recovers(hold: Hold) -> None:
    """Its trigger was given to another; Airflow then runs its on_kill, though nobody killed anything."""
    held = hold("deferred_triggerer_stalled")
    held.waits_in_triggerer()
    stack = held.stack

    def triggerer() -> int:
        job = stack.api.task(held.dag_id, RUN, TASK)["triggerer_job"]
        return job["id"] if job else 0

    before = eventually(triggerer, "a triggerer takes the trigger")
    stack["triggerer"].signal(signal.SIGSTOP)
    other = stack.start("triggerer", "triggerer-2", "--skip-serve-logs")
    try:
        eventually(lambda: triggerer() not in (0, before), lambda: f"the other triggerer takes over\n{other.tail()}")
        stack["triggerer"].signal(signal.SIGCONT)
        log = stack["triggerer"].log
        size = log.stat().st_size
        eventually(lambda: log.stat().st_size > size, "the stalled triggerer goes on")
        eventually(lambda: stack.api.healthy(*HEALTH), "healthy again")
        held.one_lives()
        held.succeeds()
        held.ended("COMPLETED")
        held.record("triggerer SIGSTOPped, its triggers moved, SIGCONT", "the stale on_kill cancels nothing")
    finally:
        stack["triggerer"].signal(signal.SIGCONT)
        other.stop()
        stack.forget("triggerer-2")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["deferred", "blocking"])
def test_scheduler_killed(hold: Hold, mode: str) -> None:
    """With LocalExecutor the workers are the scheduler's children, and die with it."""
    held = hold(f"{mode}_scheduler_killed")
    session = held.one_lives()
    held.in_state("deferred" if mode == "deferred" else "running")
    held.stack["scheduler"].signal(signal.SIGKILL)
    held.stack.forget("scheduler")
    held.stack.start("scheduler")
    if mode == "blocking":
        eventually(lambda: held.stack.api.task(held.dag_id, RUN, TASK)["try_number"] == 2, "Airflow tries again")
        held.in_state("running")
    assert held.one_lives().id == session.id
    held.succeeds()
    held.ended("COMPLETED")
    what = "while deferred" if mode == "deferred" else "with its workers while it blocks"
    held.record(f"scheduler SIGKILLed {what}, another started", "it waits for the same session")


@pytest.mark.slow
def test_blocking_cleared(hold: Hold) -> None:
    held = hold("blocking_clear")
    held.one_lives()
    held.in_state("running")
    held.stack.api.clear(held.dag_id, RUN, TASK)
    eventually(lambda: len(held.sessions()) == 2, "the cleared step submits anew")
    held.ended("CANCELLED", "RUNNING")
    held.succeeds()
    held.ended("CANCELLED", "COMPLETED")
    held.record("cleared while it blocks", "the old session is cancelled, and not the new one")


@pytest.mark.slow
def test_blocking_task_timeout(hold: Hold) -> None:
    held = hold("blocking_task_timeout")
    held.in_state("failed")
    held.ended("CANCELLED")
    held.record("`execution_timeout` while it blocks", "the operator's on_kill cancels")
