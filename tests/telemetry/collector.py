"""A receiver of OTLP over HTTP, which keeps the spans that it is sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.e2e.support import eventually


@dataclass(frozen=True)
class Received:
    """A span as it came, ids in hexadecimal."""

    name: str
    trace: str
    span: str
    parent: str
    start: int
    end: int
    kind: int
    error: bool
    told: dict[str, Any]
    service: str


class Collector:
    """What has come."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.spans: list[Received] = []

    def take(self, body: bytes) -> None:
        """A request's."""
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            service = _told(group.resource.attributes)["service.name"]
            for scope in group.scope_spans:
                self.spans += [_span(span, service) for span in scope.spans]

    def named(self, name: str) -> list[Received]:
        """Those of a name, or of one that begins so."""
        return [span for span in self.spans if span.name == name or span.name.startswith(f"{name} ")]

    def wait_for(self, name: str, count: int = 1) -> list[Received]:
        """The first so many of a name."""
        return eventually(lambda: found if len(found := self.named(name)) >= count else [], f"spans {name}")


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen on the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces", self.path
            collector.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _span(span: Any, service: str) -> Received:
    return Received(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.kind,
        span.status.code == 2,
        _told(span.attributes),
        service,
    )


def _told(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
