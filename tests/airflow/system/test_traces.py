"""One trace from a DAG run of Airflow's own processes, with its tracing on, to what a handler traces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.airflow.system.stack import Stack
from tests.telemetry.collector import Collector, Received

pytestmark = pytest.mark.timeout(600)
DAG, RUN = "traced", "r1"
Spans = dict[str, Received]  # by their ids


@pytest.fixture(scope="module")
def spans(stack: Stack, collector: Collector) -> Spans:
    """Those of a run that has ended, when all have come."""
    stack.api.trigger(DAG, RUN)
    assert stack.api.run_ended(DAG, RUN) == "success"
    (run,) = collector.wait_for(f"dag_run.{DAG}")
    once = ("task_run.blocking", "task_run.deferred", "trigger.deferred")
    for name, count in (("session", 2), ("task", 6), ("price", 6), *((name, 1) for name in once)):
        collector.wait_for(name, count)
    return {span.span: span for span in collector.spans if span.trace == run.trace}


@pytest.mark.parametrize("step", ["blocking", "deferred"])
def test_a_steps_session_is_below_its_span_of_airflow(spans: Spans, step: str) -> None:
    (session,) = (span for span in spans.values() if span.name == f"session {step}")
    session_id = session.told["htcgrid.session.id"]
    of_session = [span for span in spans.values() if span.told.get("htcgrid.session.id") == session_id]
    (submit,) = (span for span in of_session if span.name.startswith("submit"))
    assert spans[submit.parent].name == f"worker.{step}"
    assert (submit.service, session.service) == ("Airflow", "htcgrid")
    assert session.parent == submit.span
    for span in of_session:
        if span.name.startswith("process"):
            assert span.parent == submit.span
        if span.name.startswith("task "):
            assert spans[span.parent].name.startswith("process")


def test_what_handlers_trace_is_below_their_tasks(spans: Spans) -> None:
    prices = [span for span in spans.values() if span.name == "price"]
    assert len(prices) == 6
    for price in prices:
        assert [span.name.partition(" ")[0] for span in above(spans, price)][:3] == ["task", "process", "submit"]


def test_all_of_it_is_one_trace_with_one_root(spans: Spans) -> None:
    """The step that has waited in the triggerer too: its two spans of workers are beside the trigger's."""
    assert {span.name for span in spans.values() if span.parent not in spans} == {f"dag_run.{DAG}"}
    workers = [span for span in spans.values() if span.name == "worker.deferred"]
    (trigger,) = (span for span in spans.values() if span.name == "trigger.deferred")
    assert len(workers) == 2
    assert {span.parent for span in workers} == {trigger.parent}


def above(spans: Spans, span: Received) -> Iterator[Received]:
    """What a span is below, from its parent up."""
    while span.parent in spans:
        yield (span := spans[span.parent])
