"""HTCGridSubmitOperator: what is submitted, what comes back, and what the log says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec  # type: ignore[import-untyped] # no types
import pyarrow.parquet as parquet
import pytest
from airflow.sdk.io import attach
from opentelemetry import trace

from htcgrid_airflow.operators import HTCGridSubmitOperator
from htcgrid_core import (
    CredentialsExpired,
    FunctionNotFound,
    Grid,
    GridUnavailable,
    InvalidInput,
    Session,
    SessionFailed,
    SessionState,
    UnknownGrid,
    connect,
)
from tests.airflow.handlers import hold, no_thirteen, triple
from tests.airflow.steps import Step

ONCE = {"max_attempts": 1}


def submit(url: str, **arguments: Any) -> HTCGridSubmitOperator:
    """The operator, on a grid."""
    return HTCGridSubmitOperator(
        task_id="fan_out", **{"grid": url, "function": triple, "log_interval": 0.2, **arguments}
    )


def test_results_are_reduced_by_name(grid_url: str) -> None:
    operator = submit(grid_url, tasks=[1, 2, 6], reduce=["mean", "top:1"])
    assert operator.execute(Step().context()) == {"mean": 9.0, "top:1": [18]}
    with pytest.raises(InvalidInput, match="'median' is no reducer"):
        submit(grid_url, tasks=[1], reduce="median").execute(Step().context())


def some(count: int) -> Iterator[int]:
    """Events from a callable."""
    yield from range(count)


def test_a_manifest_goes_to_xcom(grid_url: str, grid: Grid) -> None:
    step = Step()
    manifest = submit(grid_url, tasks=[1, 2, 3]).execute(step.context())
    assert manifest == {
        "session_id": manifest["session_id"],
        "grid": grid_url,
        "state": "COMPLETED",
        "total": 3,
        "completed": 3,
        "failed": 0,
        "cancelled": 0,
    }
    session = grid.session(manifest["session_id"])
    assert list(session.results()) == [3, 6, 9]
    assert session.name == "dag.fan_out"
    assert session.labels == {"airflow.dag": "dag", "airflow.run": step.run_id, "airflow.task": "fan_out"}
    assert step.xcoms["htcgrid_session"]["session_id"] == session.id


def test_the_tasks_belong_to_airflows_trace(grid_url: str, grid: Grid) -> None:
    """As with tracing on: Airflow runs an operator in a span."""
    span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, True, trace.TraceFlags(1)))
    with trace.use_span(span):
        manifest = submit(grid_url, tasks=[1]).execute(Step().context())
    assert grid.session(manifest["session_id"]).spec.traceparent == f"00-{0xABC:032x}-{0xDEF:016x}-01"


def test_every_option_reaches_the_session(grid_url: str, grid: Grid) -> None:
    manifest = submit(
        grid_url,
        function="tests.e2e.handlers.double",
        tasks=[1],
        session_name="book",
        task_timeout=30,
        session_timeout=600,
        retry={"max_attempts": 5},
        max_failures=0.5,
        memory_mb=512,
        isolation="session",
        priority="high",
        tenant="rates",
        labels={"desk": "rates"},
        bundle_size=1,
    ).execute(Step().context())
    spec = grid.session(manifest["session_id"]).spec
    assert (spec.name, spec.task_timeout_seconds, spec.timeout_seconds) == ("book", 30, 600)
    assert (spec.retry.max_attempts, spec.max_failures, spec.memory_mb, spec.isolation) == (5, 0.5, 512, "session")
    assert (spec.priority, spec.labels["desk"], spec.bundle_size, spec.codec) == ("high", "rates", 1, "json")
    assert spec.tenant == "rates"


def test_it_takes_every_option_of_the_grid() -> None:
    renamed = {"events": "tasks", "name": "session_name", "timeout": "session_timeout", "pool": "grid_pool"}
    of_the_grid = {renamed.get(name, name) for name in signature(Grid.submit).parameters}
    of_the_operator = set(signature(HTCGridSubmitOperator.__init__).parameters)
    assert of_the_grid - of_the_operator == {"on_progress"}, "which it logs"


def test_whom_to_notify_is_the_grids_to_know(grid_url: str) -> None:
    with pytest.raises(InvalidInput, match="destination 'desk' is not registered"):
        submit(grid_url, tasks=[1], notify="desk").execute(Step().context())
    with connect(grid_url) as grid, pytest.raises(InvalidInput, match="destination 'desk' is not registered"):
        grid.submit_calls(abs, [[[-1], {}]], {"notify": "desk"})


def test_events_from_a_callable(grid_url: str) -> None:
    operator = submit(grid_url, tasks=some, tasks_kwargs={"count": 5}, result="inline")
    assert operator.execute(Step().context()) == [0, 3, 6, 9, 12]


def test_results_are_written_to_files(grid_url: str, tmp_path: Path) -> None:
    lines = tmp_path / "out" / "values.jsonl"
    arguments: dict[str, Any] = {"function": no_thirteen, "tasks": [12, 13, 14], "failure_policy": 1, "retry": ONCE}
    manifest = submit(grid_url, **arguments, result=str(lines)).execute(Step().context())
    assert manifest["results"] == str(lines)
    assert [json.loads(line) for line in lines.read_text().splitlines()] == [
        12,
        {"error": {"index": 1, "type": "ValueError", "message": "13 is no good"}},
        14,
    ]
    table = tmp_path / "values.parquet"
    submit(grid_url, **arguments, result=str(table)).execute(Step(task_id="other").context())
    assert parquet.read_table(table).to_pylist() == [
        {"task_index": 0, "result": 12, "task_error": None},
        {"task_index": 1, "result": None, "task_error": "ValueError: 13 is no good"},
        {"task_index": 2, "result": 14, "task_error": None},
    ]


def test_from_object_storage_and_back(grid_url: str) -> None:
    """Whatever fsspec knows; a result is there whole or not at all."""
    storage = fsspec.filesystem("memory")
    attach("memory", fs=storage)
    storage.pipe_file("/bucket/trades.jsonl", b"1\n2\n3\n")
    where = {"tasks": "memory://bucket/trades.jsonl"}
    for name in ("values.jsonl", "values.parquet"):
        manifest = submit(grid_url, **where, result=f"memory://bucket/{name}").execute(Step().context())
        assert manifest["results"] == f"memory://bucket/{name}"
    assert storage.cat_file("/bucket/values.jsonl").split() == [b"3", b"6", b"9"]
    with storage.open("/bucket/values.parquet") as table:
        assert parquet.read_table(table).column("result").to_pylist() == [3, 6, 9]


@pytest.mark.parametrize("trouble", [GridUnavailable, CredentialsExpired])
def test_the_grid_is_away_in_the_middle_of_a_wait(
    grid_url: str, trouble: type[Exception], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real, answers = Session.wait, iter([trouble("for now")] * 2)

    def wait(self: Session, *args: Any, **kwargs: Any) -> Any:
        for answer in answers:
            raise answer
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Session, "wait", wait)
    operator = submit(grid_url, tasks=[1, 2], poll_interval=0.01)
    assert operator.execute(Step().context())["completed"] == 2
    assert capfd.readouterr().out.count("The grid is away") == 1


def test_nothing_goes_to_xcom(grid_url: str) -> None:
    assert submit(grid_url, tasks=[1], result="none").execute(Step().context()) is None


def test_results_too_large_for_xcom(grid_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__HTCGRID__MAX_INLINE_BYTES", "20")
    with pytest.raises(InvalidInput, match="more than 20 bytes as JSON: write them to a file"):
        submit(grid_url, tasks=range(100), result="inline").execute(Step().context())


def test_a_failed_task_fails_the_step(grid_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    operator = submit(grid_url, function=no_thirteen, tasks=range(20), retry=ONCE)
    with pytest.raises(SessionFailed, match="1 of 20 tasks failed") as failed:
        operator.execute(Step().context())
    assert [failure.index for failure in failed.value.failures] == [13]
    assert "a retry of this task (retries=) runs only what did not complete" in str(failed.value)
    log = capfd.readouterr().out
    assert "First 1 of 1 failed tasks:" in log
    assert "       13  ValueError                13 is no good" in log
    assert 'raise ValueError("13 is no good")' in log, "the traceback"


@pytest.mark.parametrize("policy", [1, 0.05, "never"])
def test_tolerated_failures(grid_url: str, policy: Any) -> None:
    operator = submit(grid_url, function=no_thirteen, tasks=range(20), retry=ONCE, failure_policy=policy)
    manifest = operator.execute(Step().context())
    assert (manifest["completed"], manifest["failed"]) == (19, 1)


@pytest.mark.parametrize("policy", [0, 0.01])
def test_more_failures_than_tolerated(grid_url: str, policy: Any) -> None:
    operator = submit(grid_url, function=no_thirteen, tasks=range(20), retry=ONCE, failure_policy=policy)
    with pytest.raises(SessionFailed):
        operator.execute(Step().context())


def test_never_does_not_cover_a_cancel(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    step = Step()
    events = [{"number": 0, "gate": str(tmp_path / "gate")}]
    operator = submit(grid_url, function=hold, tasks=events, failure_policy="never", wait_for_completion=False)
    session_id = operator.execute(step.context())["session_id"]
    grid.session(session_id).cancel("not needed")
    with pytest.raises(SessionFailed, match="not needed"):
        operator.execute_complete(step.context(), {"status": "ended", "session_id": session_id})


def test_without_waiting(grid_url: str, grid: Grid, tmp_path: Path) -> None:
    events = [{"number": 0, "gate": str(tmp_path / "gate")}]
    manifest = submit(grid_url, function=hold, tasks=events, wait_for_completion=False).execute(Step().context())
    session = grid.session(manifest["session_id"])
    assert not session.done()
    (tmp_path / "gate").touch()
    assert session.wait(60).state is SessionState.COMPLETED


def test_progress_is_logged_meanwhile(grid_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = tmp_path / "gate"
    operator = submit(grid_url, function=hold, tasks=[{"number": 7, "gate": str(gate)}], result="inline")
    lines: list[str] = []

    def info(line: str, *values: Any) -> None:
        lines.append(line % values if values else line)
        if lines[-1].startswith("Session "):
            gate.touch()  # only now does the task end

    monkeypatch.setattr(type(operator), "log", SimpleNamespace(info=info, warning=info))
    assert operator.execute(Step().context()) == [7]
    assert any(
        " RUNNING: 0.0% of 1 tasks (0 completed, 1 pending)" in line for line in lines if line.startswith("Session ")
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tasks": 5}, InvalidInput, "tasks is a int, not a vector"),
        ({"tasks": {"a": 1}}, InvalidInput, "tasks is a dict, not a vector"),
        ({"tasks": "/nowhere/events.jsonl"}, InvalidInput, "cannot be read"),
        ({"tasks": [1], "function": "nowhere.handler"}, FunctionNotFound, "there is no module 'nowhere'"),
        ({"tasks": [1], "failure_policy": "sometimes"}, InvalidInput, "failure_policy is 'any'"),
        ({"tasks": [1], "failure_policy": 1.5}, InvalidInput, "not 1.5"),
        ({"tasks": [1], "result": "values.txt"}, InvalidInput, ".jsonl or a .parquet file"),
        ({"tasks": [1], "grid_pool": "big"}, InvalidInput, "no agent of .* serves pool 'big'"),
        ({"tasks": [1], "tenant": "Rates!"}, InvalidInput, "'Rates!' is no tenant's name"),
        ({"tasks": [1], "grid": "nowhere://"}, UnknownGrid, "not a grid's URL"),
    ],
)
def test_bad_arguments(grid_url: str, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        submit(grid_url, **arguments).execute(Step().context())


def test_a_malformed_line_is_named(grid_url: str, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text('1\n2\n{"a": \n')
    with pytest.raises(InvalidInput, match=r"events\.jsonl, line 3: not a JSON value"):
        submit(grid_url, tasks=str(events)).execute(Step().context())


def test_callables_are_not_rendered_but_called_by_the_step(grid_url: str) -> None:
    """Airflow calls what is callable in a template field, with its context, and puts the result in its place."""
    operator = submit(grid_url, tasks=some, tasks_kwargs={"count": 2}, result="inline", session_name="at {{ ds }}")
    operator.render_template_fields({"ds": "2026-11-20"})
    assert operator.session_name == "at 2026-11-20"
    assert operator.execute(Step().context()) == [0, 3]
    assert str(operator.function) == "tests.airflow.handlers.triple", "the same in each serialized DAG"
