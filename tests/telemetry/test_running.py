"""The trace of a task whose callable takes no context."""

from __future__ import annotations

import pytest
from opentelemetry import trace

from htcgrid_core.agent.workers.context import Context
from htcgrid_core.telemetry import running

PLACE = ("s-1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", 4, 2, 2)


def test_it_is_the_one_that_a_context_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.TASK, "place", PLACE)
    told = Context("s-1", 4, 2, "f", None, None, submitted=PLACE[1:3], traced_every=2)
    found = running.task_trace()
    assert found is not None
    assert found.parent == told.traceparent
    with running.in_the_tasks_trace():
        place = trace.get_current_span().get_span_context()
    assert (f"{place.trace_id:032x}", f"{place.span_id:016x}") == (found.trace_id, found.span_id)
    assert not trace.get_current_span().get_span_context().is_valid


def test_what_is_no_worker_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.TASK, "place", None)
    assert running.task_trace() is None
    with running.in_the_tasks_trace():
        assert not trace.get_current_span().get_span_context().is_valid
