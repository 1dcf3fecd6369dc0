"""The trace in which a session is submitted, OpenTelemetry's current one or that of this process, and a span for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from htcgrid_core.domain.trace import Trace, parsed
from htcgrid_core.telemetry.provider import SCOPE, context_of, spans

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

Attributes = Mapping[str, str | int]


def current() -> Trace | None:
    """OpenTelemetry's current span, if the program uses OpenTelemetry; else what ``TRACEPARENT`` says; else None."""
    traced = _of_opentelemetry()
    if traced is None and (traceparent := os.environ.get("TRACEPARENT")):
        traced = parsed(traceparent, os.environ.get("TRACESTATE", ""))
    return traced


@contextmanager
def sending(name: str, attributes: Attributes) -> Iterator[Trace | None]:
    """A span around a submission, and where it is in its trace: what the session belongs to.

    It is made by the program's own provider of spans, if it has set one up; else by the grid's, if the environment asks
    for traces; else there is no span, and the session belongs to ``current()``.
    """
    tracer = _tracer()
    if tracer is None:
        yield current()
        return
    from opentelemetry.trace import SpanKind

    around = current()
    parent = None if around is None else context_of(around)
    kind = SpanKind.PRODUCER
    with tracer.start_as_current_span(name, parent, kind=kind, attributes={**attributes, **_CONVENTIONS}) as span:
        yield _place_of(span) or around


def flush() -> None:
    """Send what the grid's own provider has, before this process may end without a word."""
    made = spans()
    if made is not None:
        made.flush()


_CONVENTIONS = {"messaging.system": "htcgrid", "messaging.operation.type": "send"}


def _tracer() -> Tracer | None:
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is not None:
        provider = api.get_tracer_provider()
        if not isinstance(provider, api.ProxyTracerProvider | api.NoOpTracerProvider):
            tracer: Tracer = provider.get_tracer(SCOPE)
            return tracer
    made = spans()
    return None if made is None else made.tracer


def _of_opentelemetry() -> Trace | None:
    """Never imports it: a program without it has no span."""
    api = sys.modules.get("opentelemetry.trace")
    return None if api is None else _place_of(api.get_current_span())


def _place_of(span: Span) -> Trace | None:
    place = span.get_span_context()
    if not place.is_valid:
        return None
    traceparent = f"00-{place.trace_id:032x}-{place.span_id:016x}-{int(place.trace_flags):02x}"
    return parsed(traceparent, place.trace_state.to_header())
