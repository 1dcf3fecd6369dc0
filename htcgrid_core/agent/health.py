"""Whether an agent lives and can work, and its metrics: three pages on one port, for a scheduler of containers."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from htcgrid_core.agent.loop.readiness import Readiness
from htcgrid_core.domain.errors import InvalidInput

_TEXT = "text/plain; charset=utf-8"
CLIENT_SECONDS = 5.0  # that one who asks may take to do so, however slowly the bytes come
CONNECTIONS = 16  # at once; who comes then is hung up on


class Health:
    """Serves in a thread of its own, so that it answers whatever the agent's loop does.

    Args:
        readiness: the agent's.
        page: writes the metrics for whoever sends such an Accept header, with their content type.
        stuck_seconds: without an iteration of the loop, after which the agent is not alive.
        host, port: where to listen; port 0 for any that is free.

    Raises:
        InvalidInput: nobody can listen there.
    """

    def __init__(
        self,
        readiness: Readiness,
        page: Callable[[str], tuple[str, bytes]],
        *,
        stuck_seconds: float,
        host: str,
        port: int,
    ) -> None:
        self._condition = readiness
        self._page = page
        self._stuck_seconds = stuck_seconds
        try:
            self._server = _Server((host, port), _handler(self._answer, host))
        except OSError as error:
            raise InvalidInput(f"health and metrics cannot be served on {host}:{port}: {error}") from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="htcgrid-health", daemon=True).start()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
        """Status, content type and body."""
        if path == "/metrics":
            return HTTPStatus.OK, *self._page(accept)
        wrong = {"/healthz": self._dead, "/readyz": self._condition.unready}.get(path)
        if wrong is None:
            return HTTPStatus.NOT_FOUND, _TEXT, b"there are /healthz, /readyz and /metrics\n"
        reason = wrong()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
        return status, _TEXT, f"{reason or 'ok'}\n".encode()

    def _dead(self) -> str:
        seconds = self._condition.stuck_seconds()
        return f"its loop has made no iteration for {seconds:.0f} s" if seconds > self._stuck_seconds else ""


class _Server(ThreadingHTTPServer):
    """One thread a connection, and a bounded number of them."""

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer it in a thread of its own, or not at all."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer it, within the time that it has as a whole."""
        late = threading.Timer(CLIENT_SECONDS, _hang_up, [request])
        late.daemon = True
        late.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            late.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up, or is hung up on, is no news."""


def _hang_up(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed just now
        request.shutdown(socket.SHUT_RDWR)


def _names_this_host(value: str | None, host: str) -> bool:
    """Whether a Host header names this agent: by an address, or by a name that no stranger's DNS can give it.

    A page in somebody's browser may ask any address under its own host name; so one that only resolves to this machine
    is refused.
    """
    if value is None:
        return True
    name = urlsplit(f"//{value}").hostname or ""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return name in ("localhost", host.lower(), socket.gethostname().lower())


def _handler(answer: Callable[[str, str], tuple[HTTPStatus, str, bytes]], host: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_SECONDS

        def do_GET(self) -> None:
            if not _names_this_host(self.headers.get("Host"), host):
                self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "ask by address, or by this machine's own name")
                return
            status, content_type, body = answer(self.path.partition("?")[0], self.headers.get("Accept", ""))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A probe every few seconds is no news."""

    return Handler
