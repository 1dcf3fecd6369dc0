"""Bodies of requests, in bounded memory: of all that is being received and worked on, however many send at once.

Nobody takes all the room: each sender has a share of it, beyond which only its own requests wait.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from starlette.requests import ClientDisconnect, Request

ALL_BYTES = 256 << 20  # of all bodies together
SHARES = 4  # of one sender at most one of so many; but one body of its own, however large, in any case
SMALL_BYTES = 64 << 10  # which are not counted
_TAKEN = "htcgrid.taken"


class TooLarge(Exception):
    """A body over its limit."""


class NotWhole(Exception):
    """A body that did not come to its end, or not in time."""


class TooMany(Exception):
    """There was no room for it, for too long."""


class Bodies:
    """Room for bodies. Used in one event loop."""

    def __init__(self, all_bytes: int = ALL_BYTES) -> None:
        self._left = all_bytes
        self._share = all_bytes // SHARES
        self._held: Counter[str] = Counter()  # by whom
        self._freed = asyncio.Condition()

    async def read(self, request: Request, limit: int, seconds: float, who: str) -> bytes:
        """A body; its room is given back by ``release``.

        Args:
            limit: bytes that it may have.
            who: whose share it is taken of.
            seconds: in which there must be room for it, and in which it must then come.

        Raises:
            TooLarge, NotWhole, TooMany: there is none.
        """
        length = request.headers.get("content-length", "")
        size = int(length) if length.isdecimal() else limit
        if length.isdecimal() and size > limit:
            raise TooLarge
        taken = size if size > SMALL_BYTES else 0
        await self._take(taken, seconds, who)
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise TooLarge
        except BaseException as error:
            self._give(taken, who)
            if isinstance(error, TimeoutError | ClientDisconnect):
                raise NotWhole from None
            raise
        request.scope[_TAKEN] = taken, who
        return bytes(body)

    def release(self, request: Request) -> None:
        """A request is answered, and its body no longer needed."""
        self._give(*request.scope.pop(_TAKEN, (0, "")))

    async def _take(self, size: int, seconds: float, who: str) -> None:
        if not size:
            return
        try:
            async with asyncio.timeout(seconds), self._freed:
                await self._freed.wait_for(lambda: self._left >= size and self._may_hold(who, size))
                self._left -= size
                self._held[who] += size
        except TimeoutError:
            raise TooMany from None

    def _may_hold(self, who: str, size: int) -> bool:
        held = self._held[who]
        return not held or held + size <= self._share

    def _give(self, size: int, who: str) -> None:
        if size:
            self._left += size
            self._held[who] -= size
            if not self._held[who]:
                del self._held[who]
            self._waking = asyncio.ensure_future(self._wake())

    async def _wake(self) -> None:
        async with self._freed:
            self._freed.notify_all()
