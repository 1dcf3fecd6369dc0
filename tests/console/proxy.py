"""A proxy of its own host that serves a grid's server below a path, as an operator's would; and that can fail."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HEAD_BYTES = 64 << 10
EMPTY = "HTTP/1.1 {0}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
END = b"\r\n\r\n"


@dataclass
class Proxy:
    """One that runs.

    Attributes:
        failing: while it is set, every request is answered with 502.
        refused: how many were.
    """

    url: str
    failing: threading.Event = field(default_factory=threading.Event)
    refused: int = 0


@contextmanager
def proxying(upstream: str, prefix: str) -> Iterator[Proxy]:
    """Serve ``upstream`` below ``prefix``, with the Host that the browser named; each connection has one request."""
    port = urlsplit(upstream).port
    assert port is not None
    proxy = Proxy("")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while END not in head and len(head) < HEAD_BYTES:
                piece = self.request.recv(4096)
                if not piece:
                    return
                head += piece
            head, _, body = head.partition(END)
            line, *headers = head.split(b"\r\n")
            method, path, version = line.split(b" ")
            if proxy.failing.is_set():
                proxy.refused += 1
                self.request.sendall(EMPTY.format("502 Bad Gateway").encode())
                return
            if not path.startswith(prefix.encode() + b"/"):
                self.request.sendall(EMPTY.format("404 Not Found").encode())
                return
            kept = [one for one in headers if not one.lower().startswith((b"connection:", b"keep-alive:"))]
            line = b" ".join((method, path[len(prefix) :], version))
            with socket.create_connection(("127.0.0.1", port)) as server:
                server.sendall(b"\r\n".join((line, *kept, b"Connection: close")) + END + body)
                threading.Thread(target=_pump, args=(self.request, server), daemon=True).start()
                _pump(server, self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as found:
        found.daemon_threads = True
        proxy.url = f"http://127.0.0.1:{found.server_address[1]}{prefix}"
        threading.Thread(target=found.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            found.shutdown()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
