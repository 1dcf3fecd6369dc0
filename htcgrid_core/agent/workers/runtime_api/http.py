"""One HTTP/1.1 connection of a worker, without blocking; h11 does the parsing."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import h11

READ_BYTES = 1 << 17
HEAD_BYTES = 64 << 10  # request line and headers
HEAD_SECONDS = 10.0  # that it may take to send them, from its first byte, or from the beginning of the connection


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has arrived, whole unless it was cut off.

    Attributes:
        headers, trailers: before and after the body, by lower-case name.
        body: as far as it is within the limit.
        length: of the body, whatever was kept of it.
        truncated: whether the connection ended, or became nonsense, before the last byte of the body.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    length: int
    trailers: dict[str, str] = field(default_factory=dict)
    truncated: bool = False


class Connection:
    """A connection that a worker made.

    Attributes:
        closed: nothing comes any more.
        reset: the worker's end was closed before all that was sent had been read.
        drained: nothing more had arrived at the last look.
        requests: that have arrived.
    """

    def __init__(self, sock: socket.socket, body_limit: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.closed = False
        self.reset = False
        self.drained = False
        self.requests = 0
        self._sock = sock
        self._limit = body_limit
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._length = 0
        self._outbox = bytearray()
        self._asked = False  # a request waits for its answer
        self._last = False  # nothing comes after that answer
        self._head_since: float | None = time.monotonic()  # it says something, or has said nothing yet

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    @property
    def unsent(self) -> bool:
        """Whether something waits until the worker reads."""
        return bool(self._outbox)

    def is_late(self, now: float) -> bool:
        """Whether it has been sending the head of a request for too long, or has never sent anything."""
        return self._head_since is not None and now - self._head_since > HEAD_SECONDS

    def receive(self) -> Request | None:
        """Read what is there; the request that it completes, which must be answered before the next one is read.

        One that is cut off can be answered too: who sent it may still listen. Nothing comes after it.
        """
        self.drained = False
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            self.drained = True
            return None
        except OSError:
            if self._head is not None:
                return self._request((), truncated=True)
            self.closed = self.reset = True
            return None
        if not data and self._head is not None:
            return self._request((), truncated=True)
        if not data or self._asked:  # clients do not ask again before they have their answer
            self.closed = True
            return None
        if self._head_since is None and self._head is None:
            self._head_since = time.monotonic()
        return self._parse(data)

    def respond(self, status: int, body: bytes, headers: list[tuple[str, str]] | None = None) -> None:
        """Answer the request."""
        head = [("content-type", "application/json"), ("content-length", str(len(body))), *(headers or [])]
        try:
            for event in (h11.Response(status_code=status, headers=head), h11.Data(data=body), h11.EndOfMessage()):
                self._outbox += self._http.send(event) or b""
        except h11.LocalProtocolError:  # it asked by a method whose answer has no body: no runtime client does
            self.closed = True
            return
        self._asked = False
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self._last = True  # as the client has asked
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes."""
        try:
            while self._outbox:
                del self._outbox[: self._sock.send(self._outbox)]
            self.closed = self.closed or self._last
        except BlockingIOError:
            pass
        except OSError:
            self.closed = self.reset = True

    def lives(self) -> bool:
        """Whether the other end has not been seen to close it."""
        try:
            return not self.closed and self._sock.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def await_end(self, timeout_seconds: float) -> None:
        """Wait until something arrives, which is its end if nobody is left to send."""
        if not self.closed:
            ready = select.poll()
            ready.register(self._sock, select.POLLIN)
            ready.poll(timeout_seconds * 1000)

    def close(self) -> None:
        """Hang up."""
        self.closed = True
        self._sock.close()

    def _parse(self, data: bytes) -> Request | None:
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._head_since = None
                    self._head, self._body, self._length = event, bytearray(), 0
                    if self._http.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(status_code=100, headers=[])
                        self._outbox += self._http.send(go_on) or b""
                        self.flush()
                elif isinstance(event, h11.Data):
                    self._length += len(event.data)
                    if self._length <= self._limit:
                        self._body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return self._request(event.headers)
                else:  # it needs more, has to wait for our answer, or is closed
                    return None
        except h11.RemoteProtocolError:  # whatever it is, it is no runtime client
            if self._head is not None:
                return self._request((), truncated=True)
            self.closed = True
            return None

    def _request(self, trailers: Iterable[tuple[bytes, bytes]], *, truncated: bool = False) -> Request:
        head = self._head
        assert head is not None, "a message ends after it began"
        self._asked = True
        self.requests += 1
        body, self._body, self._head = bytes(self._body), bytearray(), None
        return Request(
            head.method.decode("latin-1"),
            head.target.decode("latin-1"),
            _by_name(head.headers),
            body,
            self._length,
            _by_name(trailers),
            truncated,
        )


def _by_name(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
