"""One trace from a DAG run to what a task of it traces in a worker, over Airflow's own processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from htcgrid_core import connect
from tests.airflow.system.stack import Stack, running
from tests.e2e.support import eventually, fresh_grid
from tests.telemetry.collector import Collector, Received, collecting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a second Airflow, beside that of the other tests
DAG = Path(__file__).with_name("dags") / "traced.py"
STEPS = ("waits", "defers", "asks")
EVENTS = 2  # of each step
# Agents have the environment of the step that starts them.
SAID = {
    "OTEL_TRACES_EXPORTER": "otlp_proto_http",
    "OTEL_SERVICE_NAME": "airflow",
    "AIRFLOW__HTCGRID__DEFER_AFTER": "0",
}


@contextmanager
def traced(folder: Path, **settings: str) -> Iterator[tuple[Stack, Collector, str]]:
    """Airflow, the URL of a grid of its own, and a receiver that the environment names."""
    with collecting() as collector, fresh_grid(folder / "grid", idle=600) as url:
        (folder / "dags").mkdir()
        (folder / "dags" / DAG.name).symlink_to(DAG)
        extra = {
            "AIRFLOW_CONN_HTCGRID_DEFAULT": json.dumps({"conn_type": "htcgrid", "extra": {"grid": url}}),
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
            **SAID,
            **settings,
        }
        with running(folder / "airflow", folder / "dags", extra) as stack:
            stack.api.trigger("traced", "r1")
            state = stack.api.run_ended("traced", "r1")
            assert state == "success", "\n".join(stack.api.log("traced", "r1", step) for step in STEPS)
            yield stack, collector, url


def steps_of_sessions(url: str) -> dict[str, str]:
    """The step that submitted each session, by the session's id."""
    with connect(url) as grid:
        return {session.id: str(session.name) for session in grid.sessions()}


def check_what_is_of_the_grid(collector: Collector, by_id: dict[str, Received], step_of: dict[str, str]) -> None:
    """From each submission to the handlers' own spans."""

    def around(span: Received) -> Received:
        return by_id[span.parent]

    sent = collector.named("submit")
    submissions = {step_of[span.told["htcgrid.session.id"]]: span for span in sent}
    assert len(sent) == len(STEPS)
    assert submissions.keys() == set(STEPS)
    for name, above in (("session", "submit"), ("process", "submit"), ("task", "process"), ("price", "task")):
        for span in collector.named(name):
            assert around(span).name.startswith(f"{above} "), span
    for span in (*collector.named("session"), *collector.named("process")):
        assert around(span) == submissions[step_of[span.told["htcgrid.session.id"]]]
    bundles = collector.named("process")
    for phase in ("queue", "claim", "run", "commit"):
        assert {span.parent for span in collector.named(phase)} == {span.span for span in bundles}, phase
    assert sorted(span.told["n"] for span in collector.named("price")) == list(range(EVENTS * len(STEPS)))


def wait_for_what_is_of_the_grid(collector: Collector) -> None:
    """What agents send, and the submissions."""
    whole = EVENTS * len(STEPS)
    for name, count in (("submit", len(STEPS)), ("session", len(STEPS)), ("task", whole), ("price", whole)):
        collector.wait_for(name, count)
    eventually(lambda: completed(collector) == whole, "spans of every bundle")


def completed(collector: Collector) -> int:
    """By the spans of bundles."""
    told: int = sum(span.told["htcgrid.tasks.completed"] for span in collector.named("process"))
    return told


def test_one_trace_from_the_dag_run_to_the_handler(tmp_path: Path) -> None:
    with traced(tmp_path, AIRFLOW__TRACES__OTEL_ON="True") as (_, collector, url):
        wait_for_what_is_of_the_grid(collector)
        for name in ("dag_run.traced", "trigger.defers", "the code", *(f"task_run.{step}" for step in STEPS)):
            collector.wait_for(name)
        collector.wait_for("worker.defers", 2)  # one defers, one collects
        step_of = steps_of_sessions(url)

    (run,) = collector.named("dag_run.traced")
    (code,) = collector.named("the code")
    assert {span.trace for span in collector.spans} == {run.trace}
    by_id = {span.span: span for span in collector.spans}
    assert len(by_id) == len(collector.spans), "no span came twice"
    assert [span.name for span in collector.spans if span.parent not in by_id] == [run.name]
    for step in STEPS:
        (whole,) = collector.named(f"task_run.{step}")
        assert whole.parent == run.span
        workers = collector.named(f"worker.{step}")
        assert {span.parent for span in workers} == {whole.span}
        (sent,) = (span for span in collector.named("submit") if step_of[span.told["htcgrid.session.id"]] == step)
        if step == "asks":
            assert code.parent in {span.span for span in workers}
            assert sent.parent == code.span
        else:
            assert sent.parent == min(workers, key=lambda span: span.start).span
    (waiting,) = collector.named("trigger.defers")
    assert by_id[waiting.parent].name == "task_run.defers"
    check_what_is_of_the_grid(collector, by_id, step_of)


def test_an_airflow_that_does_not_trace_hides_nothing(tmp_path: Path) -> None:
    """Its runs have a trace that nobody records: the grid does, if it is told to, in that of the run."""
    with traced(tmp_path, OTEL_TRACES_SAMPLER="always_on") as (_, collector, url):
        wait_for_what_is_of_the_grid(collector)
        step_of = steps_of_sessions(url)

    assert {span.name.partition(" ")[0] for span in collector.spans} == {
        "submit", "session", "process", "queue", "claim", "run", "commit", "task", "price",
    }  # fmt: skip
    assert len({span.trace for span in collector.spans}) == 1
    by_id = {span.span: span for span in collector.spans}
    outside = [span for span in collector.spans if span.parent not in by_id]
    assert {span.name.partition(" ")[0] for span in outside} == {"submit"}
    assert all(span.parent for span in outside), "they are below Airflow's steps"
    check_what_is_of_the_grid(collector, by_id, step_of)
