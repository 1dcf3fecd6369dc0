"""The grid's own provider of spans: OTLP over HTTP, beside whatever a program has set up for itself."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from htcgrid_core.domain.extras import how_to_install
from htcgrid_core.domain.trace import Trace
from htcgrid_core.domain.version import __version__
from htcgrid_core.telemetry.flushing import Flusher
from htcgrid_core.telemetry.settings import HTTP, TraceSettings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

SCOPE = "htcgrid"
SERVICE = "htcgrid"  # unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES says otherwise
# Spans come in bursts, and a queue that is full drops them: the library's own default is 2,048.
QUEUE_SPANS, BATCH_SPANS = 20_000, 2_048
FLUSH_SECONDS = 5.0
_log = logging.getLogger(__name__)


class Spans:
    """Makes spans, some of whose ids are known beforehand.

    Attributes:
        tasks: of each session that may have spans of their own.
    """

    def __init__(self, provider: TracerProvider, given: GivenIds, tasks: int) -> None:
        self.provider = provider
        self.tasks = tasks
        self._given = given
        self._flusher = Flusher(provider.force_flush)
        self.tracer: Tracer = provider.get_tracer(SCOPE, __version__)

    @contextmanager
    def named(self, *, span_id: str, trace_id: str = "") -> Iterator[None]:
        """The next span that this thread begins has this id, and this trace if it has no parent."""
        self._given.next.ids = (int(trace_id or "0", 16), int(span_id, 16))
        try:
            yield
        finally:
            self._given.next.ids = (0, 0)

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Send what there is, for at most so long."""
        self._flusher.flush(seconds)


class GivenIds:
    """Random ids, but for those that were given: OpenTelemetry's IdGenerator, by its methods."""

    def __init__(self) -> None:
        self.next = _Next()

    def generate_span_id(self) -> int:
        """64 bits."""
        return self.next.ids[1] or _random_id(8)

    def generate_trace_id(self) -> int:
        """128 bits."""
        return self.next.ids[0] or _random_id(16)

    def is_trace_id_random(self) -> bool:
        """Those that are made of sessions' ids are as good as random: they are digests."""
        return True


class _Next(threading.local):
    ids: tuple[int, int] = (0, 0)


def _random_id(size: int) -> int:
    return int.from_bytes(os.urandom(size), "big") or 1


@cache
def spans() -> Spans | None:
    """Those of this process; None if its environment asks for no traces, or OpenTelemetry is not installed.

    Raises:
        InvalidInput: the environment's settings are no good.
    """
    settings = TraceSettings.from_environment(os.environ)
    if not settings.is_on:
        return None
    if settings.protocol != HTTP:
        _log.warning("no traces are sent: OTLP is spoken as %s, and not as %s", HTTP, settings.protocol)
        return None
    try:
        return _exporting(settings)
    except ImportError as error:
        _log.warning("no traces are sent, since %s is not installed: %s", error.name, how_to_install("otel"))
        return None


def _exporting(settings: TraceSettings) -> Spans:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    service = {} if _names_service() else {"service.name": SERVICE}
    given = GivenIds()
    provider = TracerProvider(
        resource=Resource.create({**service, "service.version": __version__}),
        id_generator=given,  # type: ignore[arg-type]  # an IdGenerator by its methods: it cannot be imported above
        shutdown_on_exit=False,  # which would keep a process that ends for 30 s, if the receiver does not answer
    )
    sizes = {"OTEL_BSP_MAX_QUEUE_SIZE": QUEUE_SPANS, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": BATCH_SPANS}
    queue, batch = (None if os.environ.get(name) else size for name, size in sizes.items())
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=queue, max_export_batch_size=batch)
    )
    made = Spans(provider, given, settings.tasks)
    atexit.register(made.flush)
    return made


def _names_service() -> bool:
    return bool(os.environ.get("OTEL_SERVICE_NAME")) or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )


def context_of(trace: Trace) -> Context:
    """A place in a trace as OpenTelemetry's context: what is begun in it is its child."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context

    place = SpanContext(
        int(trace.trace_id, 16),
        int(trace.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(trace.flags, 16)),
        trace_state=TraceState.from_header([trace.state]) if trace.state else None,
    )
    return set_span_in_context(NonRecordingSpan(place), Context())


def seconds_to_ns(moment: float) -> int:
    """A wall-clock time as OpenTelemetry has it."""
    return int(moment * 1e9)
