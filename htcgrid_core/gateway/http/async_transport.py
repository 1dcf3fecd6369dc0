"""Requests of one event loop to a server: each has a connection, and none a thread."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TypeVar

import h11

from htcgrid_core.codecs.wire import END, NEXT, PROBLEM, Frame, Unframer
from htcgrid_core.domain.errors import AccessDenied, GridUnavailable
from htcgrid_core.gateway.http.address import Address, ApiToken
from htcgrid_core.gateway.http.asks import Ask
from htcgrid_core.gateway.http.connections import CONNECT_SECONDS, CONNECTIONS_KEPT
from htcgrid_core.gateway.http.retries import BEAR_SECONDS, Retries
from htcgrid_core.gateway.http.transport import (
    ANSWER_SECONDS,
    READ_BYTES,
    broken,
    headers_of,
    not_understood,
    problem_in,
)

T = TypeVar("T")

BROKEN = (OSError, EOFError, h11.ProtocolError)


class _Stale(Exception):
    """A connection that the server let go of before it answered anything."""


class Connection:
    """One connection, for one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.CLIENT)

    async def send(self, ask: Ask[T], target: str, headers: dict[str, str]) -> h11.Response:
        """Send a request; the head of its answer."""
        body = ask.body or b""
        if ask.body is not None or ask.method in ("POST", "PUT"):
            headers = {**headers, "Content-Length": str(len(body))}
        head = self._h11.send(h11.Request(method=ask.method, target=target, headers=list(headers.items())))
        self._writer.write((head or b"") + body)
        self._h11.send(h11.Data(data=body)) if body else None
        self._h11.send(h11.EndOfMessage())
        try:
            await self._writer.drain()
            async with asyncio.timeout(ask.wait_seconds + ANSWER_SECONDS):
                while not isinstance(event := await self._event(), h11.Response):
                    pass
        except (ConnectionResetError, BrokenPipeError, EOFError) as error:
            raise _Stale from error
        return event

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces, as they come."""
        while True:
            async with asyncio.timeout(ANSWER_SECONDS):
                event = await self._event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return

    async def _event(self) -> object:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            data = await self._reader.read(READ_BYTES)
            if not data and self._h11.their_state is h11.SEND_RESPONSE:
                raise EOFError("the server closed the connection before it answered")
            self._h11.receive_data(data)
        if isinstance(event, h11.ConnectionClosed):
            raise EOFError("the server closed the connection")
        return event

    def is_reusable(self) -> bool:
        """Whether the request is over on both sides, and another one may follow."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

    def is_quiet(self) -> bool:
        """Whether the server has not closed it meanwhile."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        """Let go of it."""
        with suppress(RuntimeError):  # its loop has ended
            self._writer.close()


class AsyncTransport:
    """Asks one server, in one event loop."""

    def __init__(self, address: Address, token: ApiToken) -> None:
        self.address = address
        self._headers = headers_of(address, token)
        self._idle: list[Connection] = []
        self._tls = ssl.create_default_context() if address.is_secure else None

    async def ask(self, ask: Ask[T], bear_seconds: float = BEAR_SECONDS) -> T:
        """What a server answers; see ``Transport.ask``."""
        retries = Retries(bear_seconds)
        while True:
            retry_after = ""
            try:
                connection, head = await self._send(ask)
                body = await self._body(connection, head)
                if head.status_code < 300:
                    return self._read(ask, body)
                retry_after = _header(head, b"retry-after")
                raise problem_in(self.address, head.status_code, body)
            except GridUnavailable as error:
                if not ask.may_be_repeated:
                    raise
                pause = retries.pause_after(error, retry_after)
            await asyncio.sleep(pause)

    def _read(self, ask: Ask[T], body: bytes) -> T:
        try:
            return ask.read(body)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise not_understood(self.address, error) from error

    async def frames(self, ask: Ask[None]) -> AsyncIterator[Frame | str]:
        """The frames of an answer; see ``Transport.frames``."""
        connection, head = await self._send(ask)
        if head.status_code >= 300:
            raise problem_in(self.address, head.status_code, await self._body(connection, head))
        unframer = Unframer()
        try:
            async for chunk in self._chunks(connection, head):
                for frame in unframer.feed(chunk):
                    if frame.kind == PROBLEM:
                        raise problem_in(self.address, 500, frame.body)
                    if frame.kind == END:
                        async for _ in connection.chunks():
                            pass
                        self._give_back(connection)
                        if more := _header(head, NEXT.lower().encode()):
                            yield more
                        return
                    yield frame
            raise GridUnavailable(f"{self.address.url} broke off in the middle of an answer")
        except (*BROKEN, zlib.error) as error:
            raise broken(self.address, error) from error
        finally:
            if connection not in self._idle:
                connection.close()

    async def _send(self, ask: Ask[T]) -> tuple[Connection, h11.Response]:
        while ask.may_be_repeated and self._idle:
            kept = self._idle.pop()
            if kept.is_quiet():
                with suppress(_Stale):
                    return await self._exchange(kept, ask)
            else:
                kept.close()
        try:
            return await self._exchange(await self._fresh(), ask)
        except _Stale as error:
            raise broken(self.address, error.__cause__ or error) from error

    async def _exchange(self, connection: Connection, ask: Ask[T]) -> tuple[Connection, h11.Response]:
        media = {} if ask.body is None else {"Content-Type": ask.media}
        headers = {**self._headers, **media, **ask.headers}
        try:
            return connection, await connection.send(ask, self.address.base + ask.target, headers)
        except _Stale:
            connection.close()
            raise
        except BROKEN as error:
            connection.close()
            raise broken(self.address, error) from error
        except BaseException:
            connection.close()
            raise

    async def _fresh(self) -> Connection:
        address = self.address
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return Connection(*await asyncio.open_connection(address.host, address.port, ssl=self._tls))
        except ssl.SSLCertVerificationError as error:
            raise AccessDenied(
                f"{address.url} does not prove that it is {address.host}: {error.verify_message}"
            ) from error
        except OSError as error:
            raise GridUnavailable(f"{address.url} cannot be reached: {error}") from error

    async def _body(self, connection: Connection, head: h11.Response) -> bytes:
        try:
            body = b"".join([chunk async for chunk in self._chunks(connection, head)])
        except (*BROKEN, zlib.error) as error:
            connection.close()
            raise broken(self.address, error) from error
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return body

    async def _chunks(self, connection: Connection, head: h11.Response) -> AsyncIterator[bytes]:
        inflate = zlib.decompressobj(31) if _header(head, b"content-encoding") == "gzip" else None
        async for chunk in connection.chunks():
            yield inflate.decompress(chunk) if inflate else chunk

    def _give_back(self, connection: Connection) -> None:
        if connection.is_reusable() and len(self._idle) < CONNECTIONS_KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    async def close(self) -> None:
        """Let go of the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()


def _header(head: h11.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in head.headers if key == name), "")
