"""Answers in pieces: made by iterators that may block, and sent as fast as the client reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse

from htcgrid_core.codecs.problems import problem_of
from htcgrid_core.codecs.wire import END, PROBLEM, RAW, framed
from htcgrid_core.domain.errors import GridError

PIECE_BYTES = 64 << 10
_log = logging.getLogger(__name__)
_OVER = object()


class Streams:
    """Makes answers in pieces.

    Args:
        run: runs a function that may block, in a thread of a bounded pool; between two pieces none is held.
        stopping: once it is set, streams break off; clients then go on elsewhere.
    """

    def __init__(self, run: Callable[[Callable[[], Any]], Awaitable[Any]], stopping: asyncio.Event) -> None:
        self._run = run
        self._stopping = stopping

    async def response(self, media: str, pieces: Iterator[bytes], headers: Mapping[str, str] | None) -> Response:
        """An answer of which the first piece is made at once, so that what is wrong with it is a problem of its own."""
        gathered = _gathered(pieces)
        first = await self._run(lambda: next(gathered, _OVER))
        return StreamingResponse(self._send(media, first, gathered), media_type=media, headers=headers)

    async def _send(self, media: str, piece: Any, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
        try:
            while piece is not _OVER:
                yield piece
                if self._stopping.is_set():
                    raise Interrupted("the server is stopping")
                piece = await self._run(lambda: next(rest, _OVER))
            if media == RAW:
                yield framed(END, b"")
        except GridError as error:
            _log.warning("a stream ends early: %s", error)
            if media != RAW:
                raise Interrupted(str(error)) from error  # the connection breaks: nobody takes it for the whole
            yield framed(PROBLEM, orjson.dumps(problem_of(error).to_json()))


class Interrupted(Exception):
    """A stream that is broken off."""


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """In larger pieces: each costs a change of threads."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
