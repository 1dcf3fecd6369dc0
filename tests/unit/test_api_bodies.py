"""Bodies in bounded memory: there is room for some at once, and others wait for it, or are told to come again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from htcgrid_core.api.bodies import SMALL_BYTES, Bodies, NotWhole, TooLarge, TooMany

SIZE = 2 * SMALL_BYTES
SOON = 0.05
PATIENTLY = 60.0
WHO = "desk"


def _request(size: int, *, said: bool = True, ends: bool = True) -> Request:
    sent = iter([{"type": "http.request", "body": b"x" * size, "more_body": not ends}])

    async def receive() -> Any:
        found = next(sent, None)
        if found is None:
            await asyncio.Event().wait()
        return found

    headers = [(b"content-length", str(size).encode())] if said else []
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def test_what_fits_is_read() -> None:
    async def main() -> None:
        bodies = Bodies(SIZE)
        for request in (_request(SIZE), _request(SIZE, said=False), _request(0)):
            await bodies.read(request, SIZE, PATIENTLY, WHO)
            bodies.release(request)
            bodies.release(request)  # once more does not give more

    asyncio.run(main())


@pytest.mark.parametrize("said", [True, False])
def test_what_is_too_large_takes_no_room(said: bool) -> None:
    async def main() -> None:
        bodies = Bodies(SIZE)
        for _ in range(3):
            with pytest.raises(TooLarge):
                await bodies.read(_request(SIZE + 1, said=said), SIZE, PATIENTLY, WHO)
        assert len(await bodies.read(_request(SIZE), SIZE, PATIENTLY, WHO)) == SIZE

    asyncio.run(main())


def test_what_does_not_come_whole_takes_no_room() -> None:
    async def main() -> None:
        bodies = Bodies(SIZE)
        with pytest.raises(NotWhole):
            await bodies.read(_request(SIZE, ends=False), SIZE, SOON, WHO)
        assert len(await bodies.read(_request(SIZE), SIZE, PATIENTLY, WHO)) == SIZE

    asyncio.run(main())


def test_the_next_one_waits_for_room() -> None:
    async def main() -> None:
        bodies = Bodies(SIZE)
        first, second = _request(SIZE), _request(SIZE)
        await bodies.read(first, SIZE, PATIENTLY, WHO)
        with pytest.raises(TooMany):
            await bodies.read(_request(SIZE), SIZE, SOON, WHO)
        assert len(await bodies.read(_request(SMALL_BYTES), SIZE, SOON, WHO)) == SMALL_BYTES
        waiting = asyncio.ensure_future(bodies.read(second, SIZE, PATIENTLY, WHO))
        await asyncio.sleep(0)
        assert not waiting.done()
        bodies.release(first)
        assert len(await waiting) == SIZE

    asyncio.run(main())


def test_nobody_takes_the_room_of_others() -> None:
    """But one body of its own, however large, in any case."""

    async def main() -> None:
        bodies = Bodies(4 * SIZE)
        first = _request(SIZE)
        await bodies.read(first, SIZE, PATIENTLY, WHO)
        with pytest.raises(TooMany):
            await bodies.read(_request(SIZE), SIZE, SOON, WHO)
        assert len(await bodies.read(_request(3 * SIZE), 3 * SIZE, SOON, "another")) == 3 * SIZE
        bodies.release(first)
        assert len(await bodies.read(_request(SIZE), SIZE, PATIENTLY, WHO)) == SIZE

    asyncio.run(main())
