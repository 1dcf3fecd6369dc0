"""An AWS in trouble: a proxy before an emulator that throttles, breaks or keeps silent, as it is told."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
THROTTLED = b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"too many"}'
BROKEN = b'{"__type":"InternalServerError","message":"broken"}'


class TroubledAws:
    """A proxy and its mood.

    Attributes:
        url: to be used in the place of the emulator's.
        mood: "well" passes everything on, "throttles" and "breaks" refuse what goes to DynamoDB, "silent" answers
            nothing at all until it is well again.
        asked: DynamoDB's operations, by how often they were asked for.
        objects: what S3 was asked for, method and path, by how often.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._well = threading.Event()
        self.asked: Counter[str] = Counter()
        self.objects: Counter[tuple[str, str]] = Counter()
        self.be("well")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def be(self, mood: Literal["well", "throttles", "breaks", "silent"]) -> None:
        """Change the mood."""
        self.mood = mood
        (self._well.clear if mood == "silent" else self._well.set)()

    def close(self) -> None:
        """No more requests."""
        self._well.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body for one request."""
        self._well.wait()
        target = request.headers.get("X-Amz-Target", "")
        if not target:
            self.objects[request.command, request.path.partition("?")[0]] += 1
        if target.startswith("DynamoDB"):
            self.asked[target.rpartition(".")[2]] += 1
            if self.mood in ("throttles", "breaks"):
                refusal = (400, THROTTLED) if self.mood == "throttles" else (500, BROKEN)
                return refusal[0], [("Content-Type", "application/x-amz-json-1.0")], refusal[1]
        upstream = http.client.HTTPConnection(str(self._upstream.hostname), self._upstream.port, timeout=60)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        try:
            upstream.request(request.command, request.path, body, {**headers, "Host": str(self._upstream.netloc)})
            came = upstream.getresponse()
            kept = [(name, value) for name, value in came.getheaders() if name.lower() not in HOP_BY_HOP]
            return came.status, kept, came.read()
        finally:
            upstream.close()


def _handler(aws: TroubledAws) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, answer = aws.answer(self, body)
            try:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)
            except OSError:
                self.close_connection = True  # whoever asked has given up

        do_GET = do_PUT = do_DELETE = do_HEAD = do_POST  # noqa: N815 - the standard library's names

        def log_message(self, *_: object) -> None:
            return

    return Handler


@contextmanager
def troubled(upstream: str) -> Iterator[TroubledAws]:
    """A proxy before the emulator at ``upstream``."""
    aws = TroubledAws(upstream)
    try:
        yield aws
    finally:
        aws.close()
