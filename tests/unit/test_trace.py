"""Trace contexts: what is one, what becomes of it, and that it is no part of what a token stands for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core import Context, Grid
from htcgrid_core.domain.trace import Trace, of_session, parsed
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.reconcile import reconcile
from tests.planes import spec, still_grid

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", PARENT[:-1], PARENT + "0", PARENT + "-more", PARENT.upper(), "ff" + PARENT[2:],
        PARENT.replace(TRACE, "0" * 32), PARENT.replace(SPAN, "0" * 16), PARENT.replace("-", "_"),
    ],
)  # fmt: skip
def test_what_is_no_context_is_none(text: str) -> None:
    assert parsed(text) is None


@pytest.mark.parametrize("text", [PARENT, f" {PARENT}\n", "01" + PARENT[2:], "01" + PARENT[2:] + "-more"])
def test_what_is_one(text: str) -> None:
    assert parsed(text, "vendor=1") == Trace(TRACE, SPAN, "01", "vendor=1")


@given(st.text())
def test_nothing_raises(text: str) -> None:
    parsed(text)


def test_a_state_that_is_too_long_is_left_out() -> None:
    assert parsed(PARENT, "v=" + "x" * 600) == Trace(TRACE, SPAN, "01")


def test_as_x_ray_writes_it() -> None:
    assert Trace(TRACE, SPAN, "01").x_ray == f"Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent={SPAN};Sampled=1"
    assert Trace(TRACE, SPAN).x_ray.endswith("Sampled=0")


def test_an_untraced_session_has_a_trace_made_from_its_id() -> None:
    one, other = of_session("s-1", "", ""), of_session("s-2", "", "")
    assert parsed(one.parent) == one
    assert one.trace_id != other.trace_id
    assert of_session("s-1", "nonsense", "") == one


def test_spans_differ_by_task_and_attempt() -> None:
    session = of_session("s-1", PARENT, "")
    spans = {session.attempt("s-1", index, attempt).span_id for index in range(100) for attempt in range(3)}
    assert len(spans) == 300
    assert session.attempt("s-1", 1, 1) == session.attempt("s-1", 1, 1)


def test_a_context_made_by_hand_has_one() -> None:
    """As in a user's own test of a handler."""
    assert parsed(Context("s-1", 0, 1, "f", None, None).traceparent) is not None


class TestSubmitting:
    """What a client takes from its surroundings."""

    @pytest.fixture
    def grid(self, plane: Plane) -> Grid:
        return still_grid(plane)

    def test_the_environments(self, grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRACEPARENT", PARENT)
        assert grid.submit("math.sqrt", [1]).spec.traceparent == PARENT

    def test_none(self, grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TRACEPARENT", raising=False)
        assert grid.submit("math.sqrt", [1]).spec.traceparent == ""

    def test_the_current_span(self, grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
        """OpenTelemetry's goes before the environment's."""
        trace = pytest.importorskip("opentelemetry.trace")
        monkeypatch.setenv("TRACEPARENT", PARENT.replace(TRACE, "1" * 32))
        context = trace.SpanContext(
            int(TRACE, 16), int(SPAN, 16), True, trace.TraceFlags(1), trace.TraceState([("vendor", "1")])
        )
        with trace.use_span(trace.NonRecordingSpan(context)):
            found = grid.submit("math.sqrt", [1]).spec
        assert (found.traceparent, found.tracestate) == (PARENT, "vendor=1")

    def test_the_executors_threads_have_it_too(self, tmp_path: Path) -> None:
        trace = pytest.importorskip("opentelemetry.trace")
        plane = open_plane(Directory(tmp_path))  # a connection for each thread
        context = trace.SpanContext(int(TRACE, 16), int(SPAN, 16), True, trace.TraceFlags(1))
        grid = still_grid(plane)
        with grid.executor() as pool:
            with trace.use_span(trace.NonRecordingSpan(context)):
                pool.submit(abs, -1)
            while not (sessions := grid.sessions()):
                time.sleep(0.001)
            assert sessions[0].spec.traceparent == PARENT
            sessions[0].cancel()
            reconcile(plane, 1.0)

    def test_a_token_stands_for_the_same_session_in_another_trace(
        self, grid: Grid, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRACEPARENT", PARENT)
        first = grid.submit("math.sqrt", [1], token="book")
        monkeypatch.setenv("TRACEPARENT", PARENT.replace(TRACE, "1" * 32))
        again = grid.submit("math.sqrt", [1], token="book")
        assert again.id == first.id
        assert again.spec.traceparent == PARENT

    def test_nor_does_a_spec_differ_by_it(self, tmp_path: Path) -> None:
        assert spec(traceparent=PARENT).identity() == spec().identity()
