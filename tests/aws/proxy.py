"""A proxy before an AWS emulator, for those that do something to the calls that pass."""

from __future__ import annotations

import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "x-amz-crc32"}


class Proxy(ThreadingHTTPServer):
    """Threads, each with a connection of its own to the emulator."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, upstream: str, handler: type[Forwarder]) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.upstream = urlsplit(upstream).netloc


class Forwarder(BaseHTTPRequestHandler):
    """One connection of a client; what it asks is passed on as it is."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Proxy

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: there are thousands."""

    def forward(self) -> None:
        """Pass a request on, and its answer back."""
        self.answer(*self.ask(self.command, self.path, self.body()))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815 - the base class's names

    def body(self) -> bytes:
        """What came with the request."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def ask(
        self, method: str, path: str, body: bytes, more: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of what the emulator answers."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        self._upstream.request(method, path, body, {**headers, **(more or {}), "Content-Length": str(len(body))})
        answer = self._upstream.getresponse()
        data = answer.read()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
        if method == "HEAD":
            kept["Content-Length"] = answer.getheader("Content-Length", "0")
        return answer.status, kept, data

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Answer the client."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
