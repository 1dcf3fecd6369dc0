"""One trace from whoever submits to the handler, as a receiver of OTLP gets it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from htcgrid_core import RetryPolicy, connect
from htcgrid_core.adapters.traces import process_traces
from htcgrid_core.domain.trace import of_session, parsed
from htcgrid_core.telemetry.provider import spans
from tests.e2e.support import ended, fresh_grid
from tests.served import serving
from tests.telemetry.collector import Collector, collecting

PRICE = "tests.telemetry.handlers.price"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """One that the environment of clients and agents names."""
    for name in ("TRACEPARENT", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("HTCGRID_TRACE_TASKS", "4")
        process_traces.cache_clear()
        spans.cache_clear()
        yield found
    process_traces.cache_clear()
    spans.cache_clear()


def test_one_trace_from_the_step_to_the_handler(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is a span of the program's own, as Airflow's worker and Prefect's engine make one."""
    engine = TracerProvider(resource=Resource.create({"service.name": "the-engine"}))
    engine.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.address}/v1/traces")))
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: engine)
    endpoint = f"{collector.address}/v1/traces"
    events = [{"n": n, "endpoint": endpoint, "fails": n == 5} for n in range(40)]
    with fresh_grid(tmp_path / "grid") as url, connect(url) as grid:
        with engine.get_tracer("engine").start_as_current_span("the step"):
            session = grid.submit(PRICE, events, name="book", retry=RetryPolicy(max_attempts=2, backoff_base_seconds=0))
        ended(session)
        (whole,) = collector.wait_for("session book")
        (step,), (sent,) = collector.named("the step"), collector.named("submit")
        prices = collector.wait_for("price", 4)
        tasks = collector.wait_for("task", 4 + 2)
        bundles = collector.named("process")

    assert {span.trace for span in collector.spans} == {step.trace}
    by_id = {span.span: span for span in collector.spans}
    assert len(by_id) == len(collector.spans), "no span came twice"
    assert {span.name for span in collector.spans if span.parent not in by_id} == {"the step"}
    assert (sent.parent, sent.service, sent.kind) == (step.span, "the-engine", 4)
    assert sent.told["messaging.batch.message_count"] == 40
    assert whole.parent == sent.span
    assert (whole.error, whole.told["htcgrid.tasks.completed"], whole.told["htcgrid.tasks.failed"]) == (True, 39, 1)

    assert {span.parent for span in bundles} == {sent.span}
    assert {span.service for span in bundles} == {"htcgrid"}
    assert sum(span.told["htcgrid.tasks.completed"] for span in bundles) == 39
    assert sum(span.told["htcgrid.tasks.failed"] for span in bundles) == 1
    assert sum(span.told["htcgrid.tasks.retried"] for span in bundles) == 1
    for bundle in bundles:
        phases = sorted((span for span in collector.spans if span.parent == bundle.span), key=lambda span: span.start)
        names = [span.name for span in phases if not span.name.startswith("task ")]
        assert names[-2:] == ["run", "commit"]
        assert all(bundle.start <= span.start <= span.end for span in phases)
    assert [span.name for span in collector.spans if span.name in ("queue", "claim")]

    # Tasks 0, 10, 20 and 30 of 40, and those that failed; nothing of what an error says.
    assert {span.told["htcgrid.task.index"] for span in tasks} == {0, 10, 20, 30, 5}
    failed = [span for span in tasks if span.error]
    assert [(span.told["htcgrid.task.index"], span.told["error.type"]) for span in failed] == [(5, "ValueError")] * 2
    assert {span.told["htcgrid.task.attempt"] for span in failed} == {1, 2}
    assert "a secret" not in "".join(str(span.told) for span in collector.spans if span.service == "htcgrid")
    # A handler's own spans are below its task's, and there are none of tasks that are not recorded.
    assert {span.told["n"] for span in prices} == {0, 10, 20, 30}
    assert {by_id[span.parent].name for span in prices} == {"task 0", "task 10", "task 20", "task 30"}


def test_a_server_is_in_nobodys_way(collector: Collector, tmp_path: Path) -> None:
    """Who submits over HTTP makes the span; the grid behind the server goes on in its trace."""
    with (
        fresh_grid(tmp_path / "grid") as url,
        serving(url, tmp_path / "keys.json") as server,
        connect(server.url, api_token=server.token) as grid,
    ):
        session = grid.submit("tests.e2e.handlers.double", [1, 2, 3])
        ended(session)
        collector.wait_for("session")
        (sent,) = collector.wait_for("submit")
        (bundle, *_) = collector.wait_for("process")
    place = parsed(session.spec.traceparent)
    assert place is not None
    assert (place.trace_id, place.span_id, place.is_recorded) == (sent.trace, sent.span, True)
    assert (bundle.trace, bundle.parent) == (sent.trace, sent.span)


def test_a_session_that_nobody_traced_has_a_trace_of_its_own(collector: Collector, tmp_path: Path) -> None:
    """The client has no provider of its own: the grid's own makes the span around the submission."""
    with fresh_grid(tmp_path / "grid") as url, connect(url) as grid:
        session = grid.submit("tests.e2e.handlers.double", [1, 2, 3])
        ended(session)
        collector.wait_for("session")
    by_id = {span.span: span for span in collector.spans}
    assert {span.name.partition(" ")[0] for span in collector.spans if span.parent not in by_id} == {"submit"}
    assert len({span.trace for span in collector.spans}) == 1
    assert {span.told["htcgrid.session.id"] for span in collector.spans} == {session.id}


def test_agents_alone_record_a_session_of_a_client_that_does_not_trace(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a Java program: the session's own span is the root."""
    with fresh_grid(tmp_path / "grid") as url, connect(url) as grid:
        monkeypatch.setattr("htcgrid_core.client.tracing._tracer", lambda: None)
        session = grid.submit("tests.e2e.handlers.double", [1, 2, 3])
        assert session.spec.traceparent == ""
        ended(session)
        (root,) = collector.wait_for("session")
    place = of_session(session.id, "", "")
    assert (root.trace, root.span, root.parent) == (place.trace_id, place.span_id, "")
    assert {span.parent for span in collector.named("process")} == {root.span}


@pytest.mark.parametrize(("sampler", "is_recorded"), [("", False), ("always_on", True)])
def test_a_trace_that_is_not_recorded(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, is_recorded: bool
) -> None:
    """As Airflow's without tracing: agents follow it, or record it all the same if they are told to."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler or "parentbased_always_on")
    monkeypatch.setenv("TRACEPARENT", f"00-{0xABC:032x}-{0xDEF:016x}-00")
    seen = f"{collector.address}/v1/traces"
    with fresh_grid(tmp_path / "grid") as url, connect(url) as grid:
        session = grid.submit(PRICE, [{"n": n, "endpoint": seen} for n in range(8)])
        ended(session)
        process_traces().flush()
        if is_recorded:
            collector.wait_for("session")
            collector.wait_for("price", 4)
    # The agents have left, and sent what they had.
    assert bool(collector.spans) == is_recorded
    assert {span.trace for span in collector.spans} <= {f"{0xABC:032x}"}
