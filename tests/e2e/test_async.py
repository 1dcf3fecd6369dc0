"""Sessions from code that runs in an event loop: over this machine's grid in threads, and natively over HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from htcgrid_core import (
    AsyncGrid,
    InvalidInput,
    SessionFailed,
    SessionNotFound,
    TaskFailed,
    WaitTimeout,
    connect_async,
)
from htcgrid_core.testing.handlers import task
from tests.e2e.support import GUARD_SECONDS

T = TypeVar("T")
HANDLER = f"{task.__module__}.{task.__name__}"


def on(url: str, steps: Callable[[AsyncGrid], Awaitable[T]]) -> T:
    """What steps on a grid come to, in a loop of their own."""

    async def all_of_it() -> T:
        async with asyncio.timeout(GUARD_SECONDS), connect_async(url) as grid:
            return await steps(grid)

    return asyncio.run(all_of_it())


def test_submits_waits_and_collects(url: str) -> None:
    async def steps(grid: AsyncGrid) -> None:
        session = await grid.submit(HANDLER, range(300), name="book", labels={"desk": "rates"})
        assert (session.name, session.labels) == ("book", {"desk": "rates"})
        progress = await session.wait()
        assert (progress.state, progress.completed) == ("COMPLETED", 300)
        assert [result async for result in session.results()] == [2 * number for number in range(300)]
        assert {one.index async for one in session.tasks("COMPLETED")} == set(range(300))
        assert (await session.task(7)).result == 14
        assert await session.done()
        again = await grid.session(session.id)
        assert (await again.progress()).completed == 300
        assert [one.session_id for one in await grid.progress([session.id])] == [session.id]
        assert session.id in [one.id for one in await grid.sessions("COMPLETED", labels={"desk": "rates"})]

    on(url, steps)


def test_tasks_come_as_they_complete(url: str) -> None:
    """While one still runs, the others are there."""

    async def steps(grid: AsyncGrid) -> None:
        session = await grid.submit(HANDLER, [1, 2, {"sleep": 600}], bundle_size=1)
        seen = {}
        async for one in session.as_completed():
            seen[one.index] = one.result if one.state == "COMPLETED" else one.state
            if set(seen) == {0, 1}:
                await session.cancel("seen enough")
        assert seen == {0: 2, 1: 4, 2: "CANCELLED"}

    on(url, steps)


def test_failures_are_raised_or_returned(url: str) -> None:
    async def steps(grid: AsyncGrid) -> None:
        session = await grid.submit(HANDLER, [1, {"raise": "no"}], retry=None, max_failures=None)
        with pytest.raises(SessionFailed, match="no") as caught:
            [result async for result in session.results()]
        assert [failure.index for failure in caught.value.failures] == [1]
        first, second = [result async for result in session.results(errors="return")]
        assert first == 2
        assert isinstance(second, TaskFailed)
        child = await grid.resubmit(session)
        assert (await child.wait()).total == 1
        with pytest.raises(SessionFailed) as again:
            [result async for result in child.results()]
        assert [failure.index for failure in again.value.failures] == [1], "as in the session that was submitted first"
        assert f"`htcgrid logs {child.id} 0 --url " in str(again.value)

    on(url, steps)


def test_callables_and_shared_inputs(url: str) -> None:
    async def steps(grid: AsyncGrid) -> None:
        shared = await grid.put([1, 2, 3])
        session = await grid.submit(lambda event: sum(event["values"]) + event["add"], [{"values": shared, "add": 4}])
        assert [result async for result in session.results()] == [10]

    on(url, steps)


def test_a_wait_ends_in_time_and_goes_on_later(url: str) -> None:
    async def steps(grid: AsyncGrid) -> None:
        session = await grid.submit(HANDLER, [{"sleep": 600}])
        with pytest.raises(WaitTimeout, match=session.id):
            await session.wait(timeout=0.05)
        with pytest.raises(WaitTimeout):
            [one async for one in session.as_completed(timeout=0.05)]
        with pytest.raises(TimeoutError):  # of the loop's own kind, in the middle of a request
            async with asyncio.timeout(0.05):
                await session.wait()
        await session.cancel("the test is over")
        assert (await session.wait()).state == "CANCELLED"
        with pytest.raises(SessionNotFound):
            await grid.session("s-nobody-knows-it")

    on(url, steps)


def test_many_waits_hold_no_threads(url: str) -> None:
    """A hundred coroutines wait for one session each, and others run meanwhile."""

    async def steps(grid: AsyncGrid) -> None:
        held = await grid.submit(HANDLER, [{"sleep": 600}])
        before = threading.active_count()
        waits = [asyncio.ensure_future((await grid.session(held.id)).wait()) for _ in range(100)]
        done = await asyncio.gather(*(_one(grid, number) for number in range(20)))
        assert done == [2 * number for number in range(20)]
        assert threading.active_count() - before < 20
        assert not any(one.done() for one in waits)
        await held.cancel("the test is over")
        assert {(await one).state for one in waits} == {"CANCELLED"}

    on(url, steps)


async def _one(grid: AsyncGrid, number: int) -> Any:
    session = await grid.submit(HANDLER, [number])
    (result,) = [one async for one in session.results()]
    return result


def test_it_is_connected_while_it_is_entered(url: str) -> None:
    grid = connect_async(url)
    with pytest.raises(InvalidInput, match="async with"):
        asyncio.run(grid.measure())
    assert "not connected" in repr(grid)
