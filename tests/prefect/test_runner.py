"""The runner: sessions, dependencies, what the server is told, and its futures."""

from __future__ import annotations

import json
import pickle
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cloudpickle
import pytest
from opentelemetry import trace
from prefect import flow, get_run_logger, runtime, task, unmapped
from prefect.exceptions import CancelledRun

from htcgrid_core import Grid, InvalidInput, connect
from htcgrid_prefect import HTCGridFuture, HTCGridTaskRunner
from htcgrid_prefect.flow.group import Group
from htcgrid_prefect.flow.remote_task import RemoteTasks
from htcgrid_prefect.flow.run_context import without_function
from tests.e2e.support import directory_of, ended, eventually
from tests.prefect.support import artifacts, logs, states, told


@task
def double(number: int, ballast: str = "") -> int:
    return 2 * number


@task
def odd_fails(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


@task
def says(text: str) -> None:
    get_run_logger().warning(text)
    print("printed")


@task
def held(gate: str, number: int = 0) -> int:
    while not Path(gate).exists():
        time.sleep(0.01)
    return number


@pytest.fixture
def grid(shared_grid_url: str) -> Any:
    with connect(shared_grid_url) as connected:
        yield connected


def _sessions(grid: Grid, flow_run_id: str) -> list[Any]:
    return grid.sessions(labels={"prefect.flow-run-id": flow_run_id})


@flow
def doubling(size: int, submits: int = 0, ballast: int = 0) -> tuple[str, list[int]]:
    futures = list(double.map(range(size), unmapped("x" * ballast))) + [
        double.submit(number) for number in range(submits)
    ]
    return str(runtime.flow_run.id), [future.result() for future in futures]


class TestSessions:
    @pytest.mark.parametrize("engine", ["prefect", "grid"])
    def test_a_map_is_one_session(self, grid: Grid, engine: Any) -> None:
        runner = HTCGridTaskRunner(grid.url, engine=engine, tenant="rates", labels={"desk": "rates"})
        flow_run_id, results = doubling.with_options(task_runner=runner)(40)
        assert results == [2 * number for number in range(40)]
        (session,) = _sessions(grid, flow_run_id)
        assert ended(session).total == 40
        assert (session.spec.tenant, session.labels["desk"]) == ("rates", "rates")
        assert session.labels["prefect.flow"] == "doubling"
        assert session.name.endswith("/double")

    def test_the_tasks_belong_to_the_flows_trace(self, grid: Grid) -> None:
        """As with telemetry on: a flow runs in a span."""
        span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, True, trace.TraceFlags(1)))
        with trace.use_span(span):
            flow_run_id, _ = doubling.with_options(task_runner=HTCGridTaskRunner(grid.url, engine="grid"))(3)
        (session,) = _sessions(grid, flow_run_id)
        assert session.spec.traceparent == f"00-{0xABC:032x}-{0xDEF:016x}-01"

    def test_submissions_made_close_together_share_sessions(self, grid: Grid) -> None:
        runner = HTCGridTaskRunner(grid.url, engine="grid")
        flow_run_id, results = doubling.with_options(task_runner=runner)(0, submits=100)
        assert results == [2 * number for number in range(100)]
        sessions = _sessions(grid, flow_run_id)
        assert sum(ended(session).total for session in sessions) == 100
        assert len(sessions) < 50

    def test_what_all_calls_share_is_stored_once(self, grid_url: str) -> None:
        runner = HTCGridTaskRunner(grid_url, engine="grid")
        doubling.with_options(task_runner=runner)(50, ballast=1_000_000)
        root = directory_of(grid_url).root
        assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 10_000_000


class TestDependencies:
    def test_neither_block_the_submission_nor_take_a_thread_each(self, grid: Grid, tmp_path: Path) -> None:
        gate = tmp_path / "gate"

        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def waiting() -> list[int]:
            first: Any = held.submit(str(gate), 1)
            before = threading.active_count()
            rest = [double.submit(first) for _ in range(30)] + list(double.map([1, 2, 3], wait_for=[first]))
            assert threading.active_count() == before
            assert not any(future.done() for future in [first, *rest])
            gate.touch()
            return [future.result() for future in rest]

        assert waiting() == [2] * 30 + [2, 4, 6]

    def test_each_is_released_when_its_own_input_has_ended(self, grid: Grid, tmp_path: Path) -> None:
        gate = tmp_path / "gate"

        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def waiting() -> list[int]:
            slow: Any = held.submit(str(gate))
            calls: Any = double.map([slow, double.submit(4)])
            after_slow, after_quick = calls
            assert after_quick.result() == 16
            assert not after_slow.done()
            gate.touch()
            return [after_slow.result()]

        assert waiting() == [0]


class TestNested:
    @pytest.mark.parametrize("reporting", ["tasks", pytest.param("session", marks=pytest.mark.slow)])
    def test_on_the_grid(self, grid: Grid, reporting: Any) -> None:
        """What a task maps is a session of its own, and reported with the rest."""

        @task
        def doubled_sum(size: int) -> int:
            return sum(double.map(range(size)).result()) + double.submit(50).result()

        @flow(task_runner=HTCGridTaskRunner(grid.url, nested="grid", reporting=reporting))
        def outer() -> tuple[str, int]:
            return str(runtime.flow_run.id), doubled_sum.submit(4).result()

        flow_run_id, result = outer()
        assert result == 112
        sessions = _sessions(grid, flow_run_id)
        assert {ended(session).total for session in sessions} == {1, 4}
        inner = [session for session in sessions if "prefect.task-run-id" in session.labels]
        assert {session.labels["prefect.task"] for session in inner} == {"double"}
        told(flow_run_id, {"Completed": 6 if reporting == "tasks" else 3})  # one run stands for the nested map


class TestReporting:
    def test_the_server_knows_states_and_logs(self, grid: Grid) -> None:
        @flow(task_runner=HTCGridTaskRunner(grid.url), log_prints=True)
        def told_of() -> str:
            says.map(["one", "two"]).wait()
            return str(runtime.flow_run.id)

        flow_run_id = told_of()
        for run in told(flow_run_id, {"Completed": 2}):
            assert [state["name"] for state in states(run)] == ["Pending", "Running", "Completed"]
            times = [state["timestamp"] for state in states(run)]
            assert times == sorted(set(times))
            assert run.name.startswith("says-")
        eventually(
            lambda: sum(log.task_run_id is not None for log in logs(flow_run_id)) == 6, "three lines of each run"
        )
        assert {"one", "two", "printed"} <= {log.message for log in logs(flow_run_id)}

    @pytest.mark.parametrize("engine", ["prefect", "grid"])
    @pytest.mark.parametrize("reporting", ["tasks", "terminal", "session"])
    def test_levels(self, grid: Grid, engine: Any, reporting: Any) -> None:
        @flow(task_runner=HTCGridTaskRunner(grid.url, engine=engine, reporting=reporting))
        def reported() -> str:
            odd_fails.map(range(6)).wait()
            return str(runtime.flow_run.id)

        flow_run_id = reported()
        if reporting == "session":
            runs = told(flow_run_id, {"Failed": 4})
            (whole,) = [run for run in runs if run.name == "odd_fails x 6"]
            assert [state["name"] for state in states(whole)] == ["Pending", "Running", "Failed"]
            found: dict[Any, Any] = {artifact.key: artifact for artifact in artifacts(flow_run_id)}
            progress, failures = found["htcgrid-odd-fails"], found["htcgrid-odd-fails-failures"]
            assert (progress.type, progress.data) == ("progress", 100.0)
            assert progress.description == "3 of 6 tasks completed, 3 did not"
            rows = json.loads(failures.data)
            assert [(row["index"], row["state"]) for row in rows] == [(n, "Failed") for n in (1, 3, 5)]
            linked = {row["task run"].rpartition("/runs/task-run/")[2].rstrip(")") for row in rows}
            assert linked == {str(run.id) for run in runs if run is not whole}
            return
        runs = told(flow_run_id, {"Completed": 3, "Failed": 3})
        names = [state["name"] for run in runs for state in states(run)]
        assert names.count("Running") == (6 if reporting == "tasks" else 0)

    @pytest.mark.parametrize("engine", ["prefect", "grid"])
    def test_a_run_is_known_to_run_while_it_does(self, grid: Grid, tmp_path: Path, engine: Any) -> None:
        gate = tmp_path / "gate"

        @flow(task_runner=HTCGridTaskRunner(grid.url, engine=engine, reporting="tasks"))
        def long_ones() -> str:
            futures = held.map([str(gate)] * 2, number=range(2))
            told(str(runtime.flow_run.id), {"Running": 2})
            gate.touch()
            futures.wait()
            return str(runtime.flow_run.id)

        for run in told(long_ones(), {"Completed": 2}):
            assert [state["name"] for state in states(run)] == ["Pending", "Running", "Completed"]
            times = [state["timestamp"] for state in states(run)]
            assert times == sorted(set(times))

    def test_auto_tells_less_of_more_tasks(self) -> None:
        runner = HTCGridTaskRunner()
        levels = []
        for given in (1_000, 1_001, 10_000, 10_001):
            runner._tasks_given = given
            levels.append(runner._level(is_map=True))
        assert levels == ["tasks", "terminal", "terminal", "session"]


class TestFutures:
    def test_state_does_not_ask_the_api(self, grid: Grid, tmp_path: Path) -> None:
        gate = tmp_path / "gate"

        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def looking() -> list[Any]:
            future = held.submit(str(gate))
            with patch("prefect.futures.get_client", side_effect=AssertionError("it asks the API")):
                seen = [future.state.name]
                gate.touch()
                future.wait()
                return [*seen, future.state.name]

        assert looking() == ["Pending", "Completed"]

    def test_cancelling_one_leaves_the_others(self, grid: Grid, tmp_path: Path) -> None:
        gate = tmp_path / "gate"

        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def cancelling() -> tuple[str, list[int]]:
            futures: Any = held.map([str(gate)] * 4, number=range(4))
            assert futures[1].cancel()
            assert not futures[1].cancel()
            assert futures[1].cancelled()
            with pytest.raises(CancelledRun):
                futures[1].result()
            gate.touch()
            return str(runtime.flow_run.id), [future.result() for future in futures if not future.cancelled()]

        flow_run_id, results = cancelling()
        assert results == [0, 2, 3]
        told(flow_run_id, {"Completed": 3, "Cancelled": 1})

    def test_a_session_whose_futures_are_all_cancelled_is_cancelled(self, grid: Grid, tmp_path: Path) -> None:
        @flow(task_runner=HTCGridTaskRunner(grid.url))
        def cancelling() -> str:
            futures: Any = held.map([str(tmp_path / "never")] * 4)
            for future in futures:
                future.cancel()
            return str(runtime.flow_run.id)

        (session,) = _sessions(grid, cancelling())
        assert ended(session).state == "CANCELLED"

    def test_are_slim(self) -> None:
        remote_task = RemoteTasks("grid", None, {"labels": {}, "retry": None}, lambda _: ()).of(double, "session")
        group: Group[Any] = Group(remote_task, 100_000, threading.Condition(), bool)
        tracemalloc.start()
        futures: list[HTCGridFuture[int]] = [HTCGridFuture(group, index) for index in range(100_000)]
        for future in futures:
            future.settle(pickle.dumps(future._index))
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert futures[7].result() == 7
        assert futures[7].task_run_id != futures[8].task_run_id
        assert size / len(futures) < 300


class TestShipping:
    def test_a_flow_goes_without_what_its_function_refers_to(self) -> None:
        lock = threading.Lock()

        @flow(on_failure=[lambda *_: lock.release()])
        def locking() -> bool:
            return lock.locked()

        light = cloudpickle.loads(cloudpickle.dumps(without_function(locking)))
        assert light.name == "locking"
        with pytest.raises(RuntimeError, match="not in the grid's workers"):
            light.fn()
        assert locking.fn() is False


class TestConfiguration:
    def test_a_duplicate_and_a_pickled_one_are_equal(self) -> None:
        runner = HTCGridTaskRunner("local:///somewhere", engine="grid", labels={"a": "b"})
        assert runner.duplicate() == runner == pickle.loads(pickle.dumps(runner))
        assert runner != HTCGridTaskRunner("local:///elsewhere")

    def test_a_runner_that_is_entered_and_not_used_does_nothing(self, tmp_path: Path) -> None:
        before = threading.active_count()
        with HTCGridTaskRunner(f"local://{tmp_path}/grid"):
            assert threading.active_count() == before
        assert not (tmp_path / "grid").exists()

    @pytest.mark.parametrize("option", ["engine", "reporting", "nested"])
    def test_an_unknown_mode_is_refused(self, option: str) -> None:
        with pytest.raises(InvalidInput, match=option):
            HTCGridTaskRunner(**{option: "dask"})  # type: ignore[arg-type]

    def test_outside_of_a_flow(self, grid: Grid) -> None:
        with HTCGridTaskRunner(grid.url) as runner:
            assert runner.submit(double, {"number": 4}).result() == 8
