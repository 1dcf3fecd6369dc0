"""Handlers that trace what they do, as users' do: with OpenTelemetry's library, in the trace that they are given."""

from __future__ import annotations

from functools import cache
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from htcgrid_core import Context


@cache
def _tracer(endpoint: str) -> Tracer:
    provider = TracerProvider(resource=Resource.create({"service.name": "the-handler"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint)))
    return provider.get_tracer("handlers")


def price(event: dict[str, Any], context: Context) -> int:
    """Do something in a span of its own; some fail."""
    parent = TraceContextTextMapPropagator().extract({"traceparent": context.traceparent})
    with _tracer(event["endpoint"]).start_as_current_span("price", parent, attributes={"n": event["n"]}):
        if event.get("fails"):
            raise ValueError("a secret")
        return int(event["n"])
