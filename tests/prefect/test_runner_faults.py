"""Faults: workers and agents that die, flows that end early, and what cannot be sent. Nothing stays pending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, runtime, task
from prefect.exceptions import CancelledRun, CrashedRun
from prefect.futures import PrefectFutureList

from htcgrid_core import Grid, GridError, InvalidInput, connect
from htcgrid_prefect import HTCGridTaskRunner
from tests.e2e.support import GUARD_SECONDS, REPOSITORY, ended, eventually, kill_agents
from tests.prefect.conftest import RunningServer
from tests.prefect.support import states, task_runs, told


@task
def dies_once(folder: str, number: int) -> int:
    marker = Path(folder) / str(number)
    with marker.open("a") as file:
        file.write(".")
    if number % 4 == 0 and len(marker.read_text()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@task
def dies(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@task
def naps(folder: str, number: int) -> int:
    time.sleep(0.1)
    (Path(folder) / str(number)).touch()
    return number


@task
def sleeps(seconds: float) -> None:
    time.sleep(seconds)


@task
def takes(anything: Any) -> str:
    return type(anything).__name__


@pytest.fixture
def grid(shared_grid_url: str) -> Iterator[Grid]:
    with connect(shared_grid_url) as connected:
        yield connected


def _only_session(grid: Grid, flow_run_id: str) -> Any:
    (session,) = grid.sessions(labels={"prefect.flow-run-id": flow_run_id})
    return session


class TestLostWorkers:
    def test_their_tasks_run_again(self, grid: Grid, tmp_path: Path) -> None:
        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def mapping() -> tuple[str, list[int]]:
            return str(runtime.flow_run.id), dies_once.map([str(tmp_path)] * 10, range(10)).result()

        flow_run_id, results = mapping()
        assert results == list(range(10))
        for run in told(flow_run_id, {"Completed": 10}):
            assert [state["name"] for state in states(run)] == ["Pending", "Running", "Completed"]

    @pytest.mark.parametrize("engine", ["prefect", "grid"])
    def test_a_task_that_always_kills_its_worker_is_crashed(self, grid: Grid, engine: Any) -> None:
        from htcgrid_core import RetryPolicy

        policy = RetryPolicy(max_attempts=2, backoff_base_seconds=0)

        @flow(task_runner=HTCGridTaskRunner(grid.url, engine=engine, retry=policy))
        def mapping() -> tuple[str, list[Any]]:
            futures = dies.map(range(4))
            futures.wait()
            with pytest.raises(CrashedRun, match="WorkerCrashed"):
                futures[2].result()
            return str(runtime.flow_run.id), [future.result(raise_on_failure=False) for future in futures]

        flow_run_id, results = mapping()
        assert [results[0], results[1], results[3]] == [0, 1, 3]
        told(flow_run_id, {"Completed": 3, "Crashed": 1})

    @pytest.mark.slow
    def test_an_agent_that_is_killed_in_the_middle_of_a_map(self, grid_url: str, tmp_path: Path) -> None:
        @flow(task_runner=HTCGridTaskRunner(grid_url))
        def mapping() -> tuple[str, list[int]]:
            futures = naps.map([str(tmp_path)] * 60, range(60))
            eventually(lambda: any(tmp_path.glob("[0-9]*")), "a task has ended")
            kill_agents(grid_url)
            return str(runtime.flow_run.id), futures.result()

        flow_run_id, results = mapping()
        assert results == list(range(60))
        told(flow_run_id, {"Completed": 60})


@pytest.mark.slow
def test_a_server_that_restarts_in_the_middle_of_a_map(
    grid: Grid, tmp_path: Path, running_server: RunningServer
) -> None:
    @flow(task_runner=HTCGridTaskRunner(grid.url))
    def mapping() -> tuple[str, list[int]]:
        futures = naps.map([str(tmp_path)] * 40, range(40))
        futures[0].wait()
        running_server.restart()
        return str(runtime.flow_run.id), futures.result()

    flow_run_id, results = mapping()
    assert results == list(range(40))
    told(flow_run_id, {"Completed": 40})


class TestEarlyEnds:
    def test_an_exception_cancels_what_has_not_ended(self, grid: Grid) -> None:
        seen: list[Any] = []

        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def breaking() -> None:
            futures: Any = sleeps.map([3600] * 5)
            seen.extend([str(runtime.flow_run.id), futures, sleeps.submit(futures[0])])
            eventually(lambda: grid.sessions(labels={"prefect.flow-run-id": seen[0]}), "it is submitted")
            raise KeyError("stop")

        with pytest.raises(KeyError, match="stop"):
            breaking()
        flow_run_id, futures, dependent = seen
        assert all(future.cancelled() for future in [*futures, dependent])
        with pytest.raises(CancelledRun):
            futures[0].result()
        assert {ended(s).state for s in grid.sessions(labels={"prefect.flow-run-id": flow_run_id})} == {"CANCELLED"}
        told(flow_run_id, {"Cancelled": 6})

    def test_a_timeout_cancels_what_has_not_ended(self, grid: Grid) -> None:
        seen: list[Any] = []

        @flow(task_runner=HTCGridTaskRunner(grid.url), timeout_seconds=3)
        def too_slow() -> None:
            seen.append(str(runtime.flow_run.id))
            sleeps.map([3600] * 3).wait()

        assert too_slow(return_state=True).name == "TimedOut"
        assert ended(_only_session(grid, seen[0])).state == "CANCELLED"
        told(seen[0], {"Cancelled": 3})

    def test_what_nobody_waited_for_is_cancelled(self, grid: Grid) -> None:
        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def careless() -> str:
            sleeps.map([3600] * 3)
            return str(runtime.flow_run.id)

        assert ended(_only_session(grid, careless())).state == "CANCELLED"

    def test_sigterm_cancels_what_has_not_ended(self, grid: Grid, tmp_path: Path) -> None:
        script = tmp_path / "flow_of_a_script.py"
        script.write_text(
            textwrap.dedent(
                f"""
                import time
                from prefect import flow, runtime, task
                from htcgrid_prefect import HTCGridTaskRunner

                @task
                def sleeps(seconds):
                    time.sleep(seconds)

                @flow(task_runner=HTCGridTaskRunner({grid.url!r}))
                def main():
                    futures = sleeps.map([3600] * 3)
                    print(runtime.flow_run.id, flush=True)
                    futures.wait()

                from prefect.engine import handle_engine_signals
                from prefect.utilities.engine import capture_sigterm

                with capture_sigterm():
                    main()
                """
            )
        )
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        process = subprocess.Popen(
            [sys.executable, script.name], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            flow_run_id = process.stdout.readline().decode().strip()
            process.terminate()
            process.communicate(timeout=GUARD_SECONDS)
        finally:
            process.kill()
        assert ended(_only_session(grid, flow_run_id)).state == "CANCELLED"
        told(flow_run_id, {"Cancelled": 3})


class TestWhatCannotBeSent:
    def test_an_argument_of_a_map(self, grid: Grid) -> None:
        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def mapping() -> None:
            takes.map([1, threading.Lock()])

        with pytest.raises(InvalidInput, match=r"event 1 cannot be submitted: .*lock"):
            mapping()

    def test_an_argument_of_a_submit(self, grid: Grid) -> None:
        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def submitting() -> tuple[str, str, str]:
            bad, good = takes.submit(threading.Lock()), takes.submit(1)
            bad.wait()
            return str(runtime.flow_run.id), bad.state.message or "", good.result()

        flow_run_id, message, good = submitting()
        assert "an argument cannot be sent to the grid" in message
        assert "lock" in message
        assert good == "int"
        told(flow_run_id, {"Completed": 1, "Crashed": 1})

    def test_what_the_task_refers_to(self, grid: Grid) -> None:
        lock = threading.Lock()

        @task
        def holding() -> bool:
            return lock.locked()

        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def submitting() -> None:
            holding.submit()

        with pytest.raises(InvalidInput, match=r"task 'holding' cannot be sent to the grid: .*lock"):
            submitting()

    def test_a_result(self, grid: Grid) -> None:
        @task
        def locks() -> Any:
            return threading.Lock()

        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def submitting() -> tuple[str, str]:
            future = locks.submit()
            future.wait()
            return str(runtime.flow_run.id), str(future.state)

        flow_run_id, state = submitting()
        assert "the task's result cannot be pickled" in state
        told(flow_run_id, {"Crashed": 1})

    @pytest.mark.parametrize("engine", ["prefect", "grid"])
    def test_a_module_that_the_worker_does_not_have(self, grid: Grid, tmp_path: Path, engine: Any) -> None:
        (tmp_path / "only_here.py").write_text("def answer():\n    return 42\n")
        sys.path.insert(0, str(tmp_path))
        try:
            from only_here import answer  # type: ignore[import-not-found]
        finally:
            sys.path.remove(str(tmp_path))

        @task
        def asks() -> Any:
            return answer()

        @flow(task_runner=HTCGridTaskRunner(grid.url, engine=engine))
        def submitting() -> str:
            future = asks.submit()
            with pytest.raises(CrashedRun, match="No module named 'only_here'"):
                future.result()
            return str(runtime.flow_run.id)

        told(submitting(), {"Crashed": 1})

    def test_a_grid_that_cannot_be_reached(self) -> None:
        @flow(task_runner=HTCGridTaskRunner("local:///proc/no/such/grid"))
        def submitting() -> None:
            sleeps.submit(1)

        with pytest.raises(GridError):
            submitting()


def test_nothing_that_was_told_is_left_open(grid: Grid) -> None:
    """A flow of which half fails: every run that the server knows has ended."""

    @flow(task_runner=HTCGridTaskRunner(grid.url))
    def mixed() -> str:
        futures: PrefectFutureList[Any] = dies.with_options(retries=1).map([0, 1, "x"])
        takes.map(futures, return_state=True)
        return str(runtime.flow_run.id)

    flow_run_id = mixed()
    eventually(lambda: len(task_runs(flow_run_id)) == 6, "six runs")
    assert not [run for run in task_runs(flow_run_id) if run.state_name in {"Pending", "Running", "Scheduled"}]
