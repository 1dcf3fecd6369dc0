"""Traces of this process, as its environment asks for them; OpenTelemetry is loaded if it does."""

from __future__ import annotations

from functools import cache

from htcgrid_core.ports.traces import NO_TRACES, Traces
from htcgrid_core.telemetry.provider import spans


@cache
def process_traces() -> Traces:
    """Those of this process.

    Raises:
        InvalidInput: the environment's settings are no good.
    """
    made = spans()
    if made is None:
        return NO_TRACES
    from htcgrid_core.adapters.opentelemetry import OpenTelemetryTraces

    return OpenTelemetryTraces(made)
