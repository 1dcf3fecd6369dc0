"""A trace goes from whoever submits to each attempt of each task, in every kind of worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import RetryPolicy, connect
from htcgrid_core.agent.variables import NATIVE_VARIABLE
from htcgrid_core.domain.trace import parsed
from tests.e2e.support import ended, fresh_grid

HANDLER = """
import os

def handler(event, context):
    custom = context.client_context.custom if hasattr(context, "client_context") else {}
    if event["n"] == 1 and context.aws_request_id.endswith("/1"):
        raise RuntimeError("again")
    return {
        "who": context.aws_request_id,
        "traceparent": custom.get("traceparent") or context.traceparent,
        "tracestate": custom.get("tracestate", getattr(context, "tracestate", "")),
        "x_ray": os.environ.get("_X_AMZN_TRACE_ID"),
        "w3c": context.w3c() if hasattr(context, "w3c") else None,
    }
"""
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("native", [True, False], ids=["native", "awslambdaric"])
def test_each_attempt_has_a_span_of_its_own(native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NATIVE_VARIABLE, "1" if native else "0")
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{SPAN}-01")
    monkeypatch.setenv("TRACESTATE", "vendor=1")
    source = tmp_path / "source"
    source.mkdir()
    (source / "traced.py").write_text(HANDLER)
    with fresh_grid(tmp_path / "grid") as url, connect(url) as grid:
        grid.deploy("traced", source, handler="traced.handler")
        retry = RetryPolicy(max_attempts=2, backoff_base_seconds=0)
        session = grid.submit("traced", [{"n": n} for n in range(4)], retry=retry)
        ended(session)
        told: list[dict[str, Any]] = list(session.results())
        monkeypatch.delenv("TRACEPARENT")
        alone = grid.submit("traced", [{"n": 0}, {"n": 2}])
        ended(alone)
        untraced: list[dict[str, Any]] = list(alone.results())
    spans = {one["who"]: parsed(one["traceparent"]) for one in told}
    assert [who.rpartition("/")[2] for who in spans] == ["1", "2", "1", "1"]
    assert {span and span.trace_id for span in spans.values()} == {TRACE}
    assert {span and span.flags for span in spans.values()} == {"01"}
    assert {one["tracestate"] for one in told} == {"vendor=1"}
    assert len({span and span.span_id for span in spans.values()} | {SPAN}) == 5
    if not native:
        assert [one["x_ray"] for one in told] == [span and span.x_ray for span in spans.values()]
        for one in told:
            assert one["w3c"] == {"traceparent": one["traceparent"], "tracestate": one["tracestate"]}
    own = [parsed(one["traceparent"]) for one in untraced]
    assert len({span and span.trace_id for span in own}) == 1
    assert own[0] is not None
    assert own[0].trace_id != TRACE
    assert own[0].flags == "00"
