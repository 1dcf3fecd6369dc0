"""Connections of a server that come to nothing: each is hung up, and keeps nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from htcgrid_core.api import connections
from htcgrid_core.api.connections import Connection


async def _hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _served(
    client: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object], kind: type[Connection] = Connection
) -> None:
    config = uvicorn.Config(_hello, http=kind, log_config=None, lifespan="off", loop="asyncio")
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(
        lambda: kind(config=config, server_state=server.server_state, app_state={}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    async with asyncio.timeout(60):
        await client(reader, writer)  # type: ignore[misc]
    writer.close()
    listening.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHo"])
def test_a_request_that_does_not_come_is_hung_up(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)

    asyncio.run(_served(client))


def test_what_is_no_http_is_a_problem() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET \x00 HTTP/1.1\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"application/problem+json" in head
        assert json.loads(body)["code"] == "malformed"

    asyncio.run(_served(client))


def test_the_next_request_must_come_whole_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
        writer.write(b"GET / HTTP/1.1\r\n")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)

    asyncio.run(_served(client))


@pytest.mark.parametrize("line", [b"a: b\r\n", b"without-end"], ids=["many", "one"])
def test_trailers_without_end_are_hung_up_and_not_kept(line: bytes) -> None:
    kept: list[int] = []

    class Counting(Connection):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            kept.append(len(getattr(self, "headers", ())))

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        await reader.readuntil(b"\r\n\r\n")

        async def flood() -> None:
            for _ in range(1000):
                writer.write(line * 1000)
                await writer.drain()
                await asyncio.sleep(0.001)

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await flood()
        assert max(kept) == 2

    asyncio.run(_served(client, Counting))


def test_a_body_in_many_pieces_with_a_trailer_is_taken() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(200):
                writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\nchecksum: none\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")

    asyncio.run(_served(client))
