"""Spans of leases, made of times that were noted: by OpenTelemetry's own exporter to memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from htcgrid_core.adapters.opentelemetry import OpenTelemetryTraces
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain.bundle import Bundle
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import Counters, SessionRecord
from htcgrid_core.domain.trace import Trace, is_traced
from htcgrid_core.ports.traces import FailedAttempt, Leased, LeaseTimes
from htcgrid_core.telemetry.provider import GivenIds, Spans
from htcgrid_core.telemetry.settings import TraceSettings
from tests.planes import spec

TRACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "01")
SESSION = spec(traceparent=TRACE.parent)


class Kept:
    """What was sent."""

    def __init__(self, tasks: int = 4) -> None:
        self._exporter, given = InMemorySpanExporter(), GivenIds()
        provider = TracerProvider(id_generator=given)  # type: ignore[arg-type]  # one by its methods
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.traces = OpenTelemetryTraces(Spans(provider, given, tasks))

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """By name."""
        return {span.name: span for span in self._exporter.get_finished_spans()}


def leased(times: LeaseTimes, *, lost: str = "", crashes: int = 0) -> Leased:
    outcomes = Outcomes()
    outcomes.add(0, False, 1, 9.0, 2.0, b"1")
    outcomes.add(1, True, 1, 11.0, 0.5, b"{}")
    return Leased(
        bundle=Bundle("s-1", "00000000", 0, range(2), crashes=crashes),
        lease=Lease(1, "token", 0.0, "agent-7"),
        spec=SESSION,
        times=times,
        outcomes=outcomes,
        attempts=(FailedAttempt(1, 1, 11.0, 0.5, "ValueError", is_retried=False),),
        retried=0,
        traced_every=2,
        commit_at=12.0,
        ended_at=12.5,
        lost=lost,
    )


def ns(seconds: float) -> int:
    return int(seconds * 1e9)


def test_the_phases_of_a_lease() -> None:
    kept = Kept()
    kept.traces.leased(leased(LeaseTimes(claimed_at=8.0, leased_at=8.5, ready_at=3.0)))
    times = {name: (span.start_time, span.end_time) for name, span in kept.spans.items()}
    assert times == {
        "process pricing.handler": (ns(3.0), ns(12.5)),
        "queue": (ns(3.0), ns(8.0)),
        "claim": (ns(8.0), ns(8.5)),
        "run": (ns(9.0), ns(11.5)),
        "commit": (ns(12.0), ns(12.5)),
        "task 0": (ns(9.0), ns(11.0)),
        "task 1": (ns(11.0), ns(11.5)),
    }
    told = kept.spans["process pricing.handler"].attributes or {}
    assert (told["htcgrid.queue.seconds"], told["htcgrid.slowest.task.index"]) == (5.0, 0)


def test_a_continuations_span_holds_what_ran_before_it_began() -> None:
    kept = Kept()
    kept.traces.leased(leased(LeaseTimes(claimed_at=10.0, leased_at=10.0)))
    assert kept.spans["process pricing.handler"].start_time == ns(9.0)
    assert not {"queue", "claim"} & kept.spans.keys()


def test_a_lease_that_was_lost() -> None:
    kept = Kept()
    kept.traces.leased(leased(LeaseTimes(8.0, 8.5), lost="not_renewed", crashes=1))
    span = kept.spans["process pricing.handler"]
    assert not span.status.is_ok
    assert span.attributes is not None
    assert (span.attributes["error.type"], span.attributes["htcgrid.bundle.crashes"]) == ("not_renewed", 1)
    assert "commit" not in kept.spans


def test_a_handlers_span_is_below_its_tasks_whoever_makes_it_first() -> None:
    kept = Kept()
    kept.traces.leased(leased(LeaseTimes(8.0, 8.5)))
    told = TRACE.attempt("s-1", 0, 1, traced_every=2)
    context = kept.spans["task 0"].context
    assert context is not None
    assert (f"{context.trace_id:032x}", f"{context.span_id:016x}") == (told.trace_id, told.span_id)


@pytest.mark.parametrize(
    ("total", "tasks", "every"), [(0, 4, 1), (3, 4, 1), (4, 4, 1), (5, 4, 2), (100_000, 100, 1000), (10, 0, 0)]
)
def test_so_many_tasks_of_a_session(total: int, tasks: int, every: int) -> None:
    record = SessionRecord("s-1", SessionState.RUNNING, SESSION.text, "", Counters(total), 0.0, 0.0)
    assert Kept(tasks).traces.traced_every(record, SESSION) == every
    assert sum(is_traced(index, every) for index in range(total)) <= tasks


def test_a_trace_that_is_not_recorded_has_no_tasks() -> None:
    unrecorded = spec(traceparent=TRACE.recorded(False).parent)
    record = SessionRecord("s-1", SessionState.RUNNING, unrecorded.text, "", Counters(10), 0.0, 0.0)
    assert Kept().traces.traced_every(record, unrecorded) == 0
    kept = Kept()
    kept.traces.ended(record)
    assert kept.spans == {}


def test_a_receiver_that_hangs_keeps_nobody() -> None:
    """Neither who flushes, nor who flushes again meanwhile; what it had not taken is sent when it answers."""
    answers, hangs, given, taken = threading.Event(), threading.Event(), GivenIds(), InMemorySpanExporter()

    class Hanging(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            hangs.set()
            answers.wait()
            return taken.export(spans)

    provider = TracerProvider(id_generator=given, shutdown_on_exit=False)  # type: ignore[arg-type]  # by its methods
    provider.add_span_processor(BatchSpanProcessor(Hanging(), schedule_delay_millis=3_600_000))
    made = Spans(provider, given, 4)

    def flush_twice() -> None:
        made.tracer.start_span("first").end()
        made.flush(0.01)
        made.tracer.start_span("second").end()
        made.flush(3600)

    flushing = threading.Thread(target=flush_twice, daemon=True)
    flushing.start()
    try:
        flushing.join(60)
        assert not flushing.is_alive()
        assert hangs.wait(60)
        assert taken.get_finished_spans() == ()
    finally:
        answers.set()
        provider.shutdown()
    assert {span.name for span in taken.get_finished_spans()} == {"first", "second"}


@pytest.mark.slow
def test_a_receiver_that_hangs_lets_a_process_end() -> None:
    """OpenTelemetry's own end of a process waits 30 seconds for it, beyond its flush."""
    program = "from htcgrid_core.telemetry.provider import spans\nspans().tracer.start_span('one').end()"
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        endpoint = f"http://127.0.0.1:{receiver.getsockname()[1]}"
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "3600"}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=25)


def test_handlers_are_told_whether_their_task_is_recorded() -> None:
    flags = [TRACE.attempt("s-1", index, 1, traced_every=2).flags for index in range(4)]
    assert flags == ["01", "00", "01", "00"]
    assert TRACE.attempt("s-1", 1, 1).flags == "01", "where agents do not trace, as the submitter said"
    assert TRACE.attempt("s-1", 0, 1, traced_every=0).flags == "00"
    assert Trace(TRACE.trace_id, TRACE.span_id, "03").recorded(False).flags == "02", "other flags stay"


@pytest.mark.parametrize(
    ("environment", "is_on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console, otlp_proto_http"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318"}, False),
    ],
)
def test_what_turns_traces_on(environment: dict[str, str], is_on: bool) -> None:
    assert TraceSettings.from_environment(environment).is_on == is_on


@pytest.mark.parametrize("text", ["many", "-1", "1.5", "100001", "٣"])
def test_a_number_of_tasks_that_is_none(text: str) -> None:
    with pytest.raises(InvalidInput, match="HTCGRID_TRACE_TASKS"):
        TraceSettings.from_environment({"HTCGRID_TRACE_TASKS": text})
