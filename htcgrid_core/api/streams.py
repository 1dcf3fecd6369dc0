"""Answers in pieces: made by iterators that may block, and sent as fast as the client reads; or in pages."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse

from htcgrid_core.codecs.problems import problem_of
from htcgrid_core.codecs.wire import END, NEXT, PROBLEM, RAW, framed
from htcgrid_core.domain.errors import GridError, ResultTooLarge

PIECE_BYTES = 64 << 10
PAGE_SECONDS = 10.0  # after which a page ends where it is; whoever has asked for it waits for no more than 30
_log = logging.getLogger(__name__)
_OVER = object()

# Some bytes, and the cursor that goes on behind them; between pieces of one cursor no page ends. None for the bytes: so
# many as were asked for have come, and perhaps there are more behind the cursor.
Pieces = Iterator[tuple[bytes | None, object]]


class Streams:
    """Makes answers in pieces.

    Args:
        run: runs a function that may block, in a thread of a bounded pool; between two pieces none is held.
        stopping: once it is set, streams break off; clients then go on elsewhere.
        page_bytes: of an answer, where none can be a stream; the header ``Htcgrid-Next`` says where the next begins.
    """

    def __init__(
        self,
        run: Callable[[Callable[[], Any]], Awaitable[Any]],
        stopping: asyncio.Event,
        page_bytes: int | None = None,
    ) -> None:
        self._run = run
        self._stopping = stopping
        self._page_bytes = page_bytes

    async def response(self, media: str, pieces: Pieces, headers: Mapping[str, str] | None) -> Response:
        """An answer of which the first piece is made at once, so that what is wrong with it is a problem of its own.

        A small one, as most are, is sent as a whole.
        """
        end = framed(END, b"") if media == RAW else b""
        if (limit := self._page_bytes) is not None:
            body, behind = await self._run(lambda: _page(pieces, limit))
            more = {} if behind is None else {NEXT: str(behind)}
            return Response(body + end, media_type=media, headers={**(headers or {}), **more})
        gathered = _gathered(data for data, _ in pieces if data is not None)
        first, second = await self._run(lambda: (next(gathered, _OVER), next(gathered, _OVER)))
        if second is _OVER:
            return Response((b"" if first is _OVER else first) + end, media_type=media, headers=headers)
        return StreamingResponse(self._send(media, first, second, gathered), media_type=media, headers=headers)

    async def _send(self, media: str, first: bytes, piece: Any, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
        try:
            yield first
            while piece is not _OVER:
                if self._stopping.is_set():
                    raise Interrupted("the server is stopping")
                yield piece
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


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
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


def _page(pieces: Pieces, limit: int) -> tuple[bytes, object]:
    """As much as one answer holds, and the cursor of the next page; None if there is none.

    Raises:
        ResultTooLarge: one cannot even hold what comes first.
    """
    page = bytearray()
    behind, until = None, time.monotonic() + PAGE_SECONDS
    for cursor, group in groupby(pieces, itemgetter(1)):
        if behind is not None and time.monotonic() > until:
            return bytes(page), behind
        found = [piece for piece, _ in group]
        data = b"".join(piece for piece in found if piece is not None)
        if len(page) + len(data) > limit:
            if page:
                return bytes(page), behind
            raise ResultTooLarge(
                f"what comes next has {len(data):,} bytes, and an answer here at most {limit:,}: read it from the grid "
                "itself, or through `htcgrid serve`"
            )
        page += data
        behind = cursor
        if None in found:
            return bytes(page), behind
    return bytes(page), None
