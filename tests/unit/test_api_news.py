"""News of sessions: a row that cannot be read is the trouble of those who ask for it, and of nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.api import news
from htcgrid_core.api.news import News
from htcgrid_core.domain.errors import GridUnavailable, IncompatibleGrid
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.served import ServedGrid
from tests.planes import StillDeployment, memory_plane, spec

GOOD, BAD = "s-good", "s-bad"


class Damaged(ServedGrid):
    """A grid with a session that cannot be read."""

    error: Exception = ValueError("no number")

    def progress(self, session_ids: Sequence[str]) -> list[SessionRecord]:
        """Rows, unless the bad one is among them."""
        if BAD in session_ids:
            raise self.error
        return super().progress(session_ids)


@pytest.fixture
def grid(tmp_path: Path) -> Damaged:
    """One with a good session, too."""
    gateway = InProcessGateway(StillDeployment(memory_plane(tmp_path)))
    gateway.submit(GOOD, spec(), [b"1"], total=1, idempotent=True)
    return Damaged(gateway)


async def _with_news(grid: ServedGrid, use: Callable[[News], Awaitable[Any]]) -> None:
    async def run(function: Callable[[], Any]) -> Any:
        return function()

    found = News(grid, run)
    found.start()
    try:
        async with asyncio.timeout(60):
            await use(found)
    finally:
        await found.stop()


@pytest.mark.parametrize("error", [ValueError("no number"), IncompatibleGrid("of another release")], ids=str)
def test_a_row_that_cannot_be_read_ends_nobody_elses_wait(grid: Damaged, error: Exception) -> None:
    grid.error = error

    async def use(found: News) -> None:
        with found.watch([BAD]) as bad, found.watch([GOOD]) as good:
            await good.first()  # in one look with the bad one
            with pytest.raises(type(error)):
                await bad.first()
        with found.watch([GOOD]) as again:
            await again.first()
            assert set(again.records) == {GOOD}

    asyncio.run(_with_news(grid, use))


def test_a_bell_that_breaks_is_listened_to_again(grid: Damaged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "LISTEN_SECONDS", 0.01)
    whole, tries = grid.gateway.waiter, 0

    def waiter() -> AbstractContextManager[Any]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ValueError("a bell that is none")
        return whole()

    monkeypatch.setattr(grid.gateway, "waiter", waiter)

    async def use(found: News) -> None:
        with found.watch([GOOD]):
            while tries < 2:
                await asyncio.sleep(0.01)

    asyncio.run(_with_news(grid, use))


def test_what_is_not_read_in_time_is_said(grid: Damaged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "FIRST_SECONDS", 0.01)

    async def main() -> None:
        found = News(grid, asyncio.to_thread)  # which nobody has started
        with found.watch([GOOD]) as watch, pytest.raises(GridUnavailable):
            await watch.first()

    asyncio.run(main())
