"""The trace in which a session is submitted: OpenTelemetry's current one, or that of this process."""

from __future__ import annotations

import os
import sys

from htcgrid_core.domain.trace import Trace, parsed


def current() -> Trace | None:
    """OpenTelemetry's current span, if the program uses OpenTelemetry; else what ``TRACEPARENT`` says; else None."""
    traced = _of_opentelemetry()
    if traced is None and (traceparent := os.environ.get("TRACEPARENT")):
        traced = parsed(traceparent, os.environ.get("TRACESTATE", ""))
    return traced


def _of_opentelemetry() -> Trace | None:
    """Never imports it: a program without it has no span."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    span = api.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    traceparent = f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"
    return parsed(traceparent, span.trace_state.to_header())
