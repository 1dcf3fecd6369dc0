"""Requests of one process to a server, over connections that are kept."""

from __future__ import annotations

import http.client
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import TypeVar

import orjson

from htcgrid_core.codecs.problems import error_of
from htcgrid_core.codecs.wire import END, MACHINE, NEXT, PROBLEM, RAW, Frame, Unframer
from htcgrid_core.domain.errors import CorruptPayload, GridError, GridUnavailable, InvalidInput
from htcgrid_core.domain.version import __version__
from htcgrid_core.gateway.http.address import Address, ApiToken
from htcgrid_core.gateway.http.asks import JSON, Ask
from htcgrid_core.gateway.http.connections import BROKEN, Connections, break_off
from htcgrid_core.gateway.http.retries import BEAR_SECONDS, Retries
from htcgrid_core.gateway.machine import machine_digest

T = TypeVar("T")

ANSWER_SECONDS = 60.0  # without a byte of an answer, besides what its request waits for
READ_BYTES = 1 << 16
PROBLEM_BYTES = 1 << 16  # of an answer that is read for what went wrong


class Exchange:
    """One request that was sent, and its answer, while it is read."""

    def __init__(self, connections: Connections, connection: http.client.HTTPConnection) -> None:
        self._connections = connections
        self._connection = connection
        self.answer = connection.getresponse()
        encoding = self.answer.headers.get("Content-Encoding", "")
        self._inflate = zlib.decompressobj(31) if encoding == "gzip" else None
        self._is_closed = False

    @property
    def status(self) -> int:
        """Of the answer."""
        return self.answer.status

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces, as they come."""
        while data := self.answer.read1(READ_BYTES):
            yield self._inflate.decompress(data) if self._inflate else data

    def body(self) -> bytes:
        """The whole body; the connection may then serve others."""
        data = self.answer.read()
        self.close()
        return self._inflate.decompress(data) if self._inflate else data

    def close(self) -> None:
        """Nobody reads on."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.answer.isclosed() and not self.answer.will_close:
            self._connections.give_back(self._connection)
        else:
            self._connection.close()


class Transport:
    """Asks one server. May be used from many threads."""

    def __init__(self, address: Address, token: ApiToken) -> None:
        self.address = address
        self._connections = Connections(address)
        self._headers = headers_of(address, token)
        self.request_bytes: int | None = None  # that the server takes, once it has said so

    def ask(self, ask: Ask[T], bear_seconds: float = BEAR_SECONDS) -> T:
        """What a server answers; asked again while what went wrong may pass, and that does no harm.

        Raises:
            GridError: what the server raised, or GridUnavailable: there is no answer.
        """
        retries = Retries(bear_seconds)
        self._check_size(ask)
        while True:
            retry_after = ""
            try:
                exchange = self.send(ask)
                with _reading(self.address, exchange):
                    body = exchange.body()
                if exchange.status < 300:
                    return self._read(ask, body)
                retry_after = exchange.answer.headers.get("Retry-After", "")
                raise problem_in(self.address, exchange.status, body)
            except GridUnavailable as error:
                if not ask.may_be_repeated:
                    raise
                time.sleep(retries.pause_after(error, retry_after))

    def _check_size(self, ask: Ask[T]) -> None:
        """What stands before a server and refuses a body says less of why.

        Raises:
            InvalidInput: it is too large.
        """
        size, limit = len(ask.body or b""), self.request_bytes
        if limit is not None and size > limit:
            raise InvalidInput(
                f"{self.address.url} takes requests of up to {limit:,} bytes, and this one has {size:,}: nothing of it "
                "was sent; the grid itself, or a server that `htcgrid serve` runs, takes more"
            )

    def _read(self, ask: Ask[T], body: bytes) -> T:
        try:
            return ask.read(body)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise not_understood(self.address, error) from error

    def send(self, ask: Ask[T]) -> Exchange:
        """One try; the head of the answer is there.

        Raises:
            GridUnavailable: it is not.
        """
        try:
            if ask.may_be_repeated and (connection := self._connections.kept()) is not None:
                # The server may let go of it just when it is used again.
                with suppress(http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                    return self._exchange(connection, ask)
            return self._exchange(self._connections.fresh(), ask)
        except BROKEN as error:
            raise broken(self.address, error) from error

    def _exchange(self, connection: http.client.HTTPConnection, ask: Ask[T]) -> Exchange:
        try:
            self.started(connection)
            assert connection.sock is not None
            connection.sock.settimeout(ask.wait_seconds + ANSWER_SECONDS)
            connection.request(ask.method, self.address.base + ask.target, ask.body, self.head_of(ask))
            return Exchange(self._connections, connection)
        except BaseException:
            connection.close()
            raise

    def head_of(self, ask: Ask[T]) -> dict[str, str]:
        """The headers of a request."""
        media = {} if ask.body is None else {"Content-Type": ask.media}
        return {**self._headers, **media, **ask.headers}

    def started(self, connection: http.client.HTTPConnection) -> None:
        """A request is about to be sent on a connection: for those who want to break it off."""

    def chunks(self, ask: Ask[None]) -> Iterator[bytes]:
        """The body of an answer in pieces, one try.

        Raises:
            GridError: what the server raised. GridUnavailable: the answer was cut off.
        """
        exchange = self.send(ask)
        try:
            with _reading(self.address, exchange):
                if exchange.status >= 300:
                    raise problem_in(self.address, exchange.status, exchange.body())
                yield from exchange.chunks()
        finally:
            exchange.close()

    def frames(self, ask: Ask[None]) -> Iterator[Frame | str]:
        """The frames of an answer, one try; at the end, where the next page begins, if there is one.

        Raises:
            GridError: what the server raised, before or in the middle. GridUnavailable: the answer was cut off.
        """
        exchange = self.send(ask)
        try:
            with _reading(self.address, exchange):
                if exchange.status >= 300:
                    raise problem_in(self.address, exchange.status, exchange.body())
                unframer = Unframer()
                for chunk in exchange.chunks():
                    for frame in unframer.feed(chunk):
                        if frame.kind == END:
                            exchange.answer.read()  # what ends the body, so that the connection serves others
                            if (begin := exchange.answer.headers.get(NEXT)) is not None:
                                yield begin
                            return
                        if frame.kind == PROBLEM:
                            raise problem_in(self.address, 500, frame.body)
                        yield frame
                raise GridUnavailable(f"{self.address.url} broke off in the middle of an answer")
        finally:
            exchange.close()

    def close(self) -> None:
        """Let go of what is kept."""
        self._connections.close()


class BreakableTransport(Transport):
    """Of a waiter: another thread may break its request off."""

    def __init__(self, other: Transport) -> None:
        self.address = other.address
        self._connections = other._connections
        self._headers = other._headers
        self.request_bytes = other.request_bytes
        self._connection: http.client.HTTPConnection | None = None

    def started(self, connection: http.client.HTTPConnection) -> None:
        """See ``Transport``."""
        self._connection = connection

    def ended(self) -> None:
        """The request is over."""
        self._connection = None

    def break_off(self) -> None:
        """End a request that is under way."""
        if (connection := self._connection) is not None:
            break_off(connection)


class _reading:  # noqa: N801 - a context manager, used as a function
    """What breaks while an answer is read is a GridUnavailable, and its connection is of no use any more."""

    def __init__(self, address: Address, exchange: Exchange) -> None:
        self._address = address
        self._exchange = exchange

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None:
            self._exchange.close()
        if isinstance(error, (*BROKEN, zlib.error)):
            raise broken(self._address, error) from error


def headers_of(address: Address, token: ApiToken) -> dict[str, str]:
    """What every request says."""
    headers = {
        "Host": address.authority,
        "Authorization": token.header,
        "Accept": f"{RAW}, {JSON}",
        "User-Agent": f"htcgrid/{__version__}",
    }
    if address.is_loopback:
        return {**headers, "Accept-Encoding": "identity", MACHINE: machine_digest()}
    return {**headers, "Accept-Encoding": "gzip"}


def problem_in(address: Address, status: int, body: bytes) -> GridError:
    """What an answer that is no success raises."""
    try:
        told = orjson.loads(body[:PROBLEM_BYTES])
    except orjson.JSONDecodeError:
        told = None
    if status < 400:
        return CorruptPayload(f"{address.url} answers with a redirection ({status}), which is not followed")
    if not isinstance(told, dict) or "detail" not in told:
        told = {"detail": f"{address.url} answers with status {status}, and not as a grid's server does"}
    return error_of(status, told)


def broken(address: Address, error: BaseException) -> GridUnavailable:
    """A request whose fate is not known."""
    return GridUnavailable(f"the connection to {address.url} broke: {type(error).__name__}: {error}")


def not_understood(address: Address, error: BaseException) -> CorruptPayload:
    """An answer that is none of this project's servers'."""
    return CorruptPayload(f"{address.url} answers as no grid's server does: {type(error).__name__}: {error}")
