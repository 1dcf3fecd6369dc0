"""Connections of a server: those who begin a request must get to its end, in time and in bounded memory."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from htcgrid_core.codecs import problems
from htcgrid_core.codecs.problems import MEDIA_TYPE, Problem

HEAD_SECONDS = 30.0  # in which a request's line and headers must come
HEAD_BYTES = 64 << 10  # that they may have; and whatever comes behind a body
CONNECTIONS = 10_000  # more are told to come again


class Connection(HttpToolsProtocol):
    """uvicorn's, which waits for ever for a request that has begun, and keeps whatever headers come."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; it has so long to ask for something."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._end_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """It asks for something."""
        super().on_message_begin()
        if not self._in_head:
            self._begin_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers. What comes behind the body is none: nobody here reads such trailers."""
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._has_moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._has_moved = True
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        """What it asks for is known."""
        self._has_moved = True
        self._end_head()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Some bytes of it."""
        self._has_moved = False
        super().data_received(data)
        if self._has_moved and not self._in_head:
            self._head_bytes = 0
        else:  # of a head, or of trailers, of which the parser keeps what has not ended
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is a problem like others, and the end of the connection."""
        body = orjson.dumps(Problem(problems.MALFORMED, msg).to_json())
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def _begin_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._late = self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def _end_head(self) -> None:
        self._in_head = False
        self._late.cancel()

    def _hang_up(self) -> None:
        self.transport.abort()


def allow_many() -> None:
    """Raise the limit of this process's descriptors as far as it may: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted: Any = CONNECTIONS + 1024 if hard == resource.RLIM_INFINITY else min(hard, CONNECTIONS + 1024)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
