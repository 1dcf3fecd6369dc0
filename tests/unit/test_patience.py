"""Whoever waits bears a grid that cannot be read, as long and no longer than the one policy says."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from htcgrid_core.client.executor import GridExecutor
from htcgrid_core.client.grid import Grid
from htcgrid_core.domain import limits, patience
from htcgrid_core.domain.errors import AccessDenied, CredentialsExpired, GridUnavailable, UnknownGrid, WaitTimeout
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.patience import Patience
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.reconcile import reconcile
from tests.faults import watched
from tests.manual_agent import finish
from tests.planes import ManualClock, still_grid

READS = ("session", "progress", "outcome_pages", "root_pages", "blocks", "get", "get_range")


class TestPatience:
    @pytest.fixture
    def said(self) -> list[str]:
        return []

    @pytest.fixture
    def one(self, clock: ManualClock, said: list[str]) -> Patience:
        return Patience(monotonic=clock.monotonic, sleep=clock.sleep, say=said.append)

    @pytest.mark.parametrize("error", [GridUnavailable("no route"), CredentialsExpired("expired")])
    def test_five_minutes_without_one_success(self, one: Patience, clock: ManualClock, error: Exception) -> None:
        began, tries = clock.monotonic(), 0

        def read() -> None:
            nonlocal tries
            tries += 1
            raise error

        with pytest.raises(type(error), match=rf"not one read has succeeded for 30\d s: {error}"):
            one.read(read)
        assert limits.PATIENCE_SECONDS <= clock.monotonic() - began <= limits.PATIENCE_SECONDS + 5.0
        assert 50 < tries < 200

    def test_it_begins_anew_with_each_success(self, one: Patience, clock: ManualClock) -> None:
        for _ in range(20):
            one.bear(GridUnavailable("no route"))
            clock.pass_(limits.PATIENCE_SECONDS - 1)
            one.rewarded()

    def test_what_was_long_ago_does_not_count(self, one: Patience, clock: ManualClock) -> None:
        """A wait that was ended by its timeout, and another one hours later."""
        one.bear(GridUnavailable("no route"))
        clock.pass_(7200.0)
        one.bear(GridUnavailable("no route"))

    @pytest.mark.parametrize("error", [AccessDenied("not permitted"), UnknownGrid("no table"), KeyError("a bug")])
    def test_another_refusal_is_raised_at_once(self, one: Patience, error: Exception, said: list[str]) -> None:
        with pytest.raises(type(error)) as caught:
            one.bear(error)
        assert caught.value is error
        assert said == []

    def test_it_is_told_now_and_then(self, one: Patience, clock: ManualClock, said: list[str]) -> None:
        for _ in range(130):
            one.bear(GridUnavailable("no route"))
            clock.pass_(1.0)
        assert [text.split(":")[0] for text in said] == [
            f"the grid cannot be read now, and is tried again for {left} s" for left in (300, 240, 180)
        ]


class Trouble:
    """A plane's reads fail as long as this says; what it does to a wait is seen from outside."""

    def __init__(self) -> None:
        self.left = 0
        self.error: Callable[[], Exception] = lambda: GridUnavailable("no route")
        self.share, self.rng = 0.0, random.Random(7)
        self.reads: tuple[str, ...] = READS

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        if name not in self.reads:
            return call()
        if self.left:
            self.left -= 1
            raise self.error()
        found = call()
        if self.rng.random() < self.share:
            raise GridUnavailable("the reply was lost")
        return found


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
def grid(plane: Plane, trouble: Trouble, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """A grid whose reads are in trouble; nobody sleeps long between them."""
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(limits, "CLIENT_POLL_SECONDS", 0.001)
    return still_grid(watched(plane, trouble.around))


def double(event: int) -> int:
    return 2 * event


def by_results(grid: Grid, work: Callable[[], None], begin: Callable[[], None]) -> list[Any]:
    session = grid.submit(double, range(10), bundle_size=2)
    work()
    begin()
    return list(session.results())


def by_as_completed(grid: Grid, work: Callable[[], None], begin: Callable[[], None]) -> list[Any]:
    session = grid.submit(double, range(10), bundle_size=2)
    work()
    begin()
    return [task.result for task in sorted(session.as_completed(), key=lambda task: task.index)]


def by_wait(grid: Grid, work: Callable[[], None], begin: Callable[[], None]) -> list[Any]:
    session = grid.submit(double, range(10), bundle_size=2)
    work()
    begin()
    assert session.wait(progress=True).state is SessionState.COMPLETED
    return list(session.results())


def by_map(grid: Grid, work: Callable[[], None], begin: Callable[[], None]) -> list[Any]:
    found = grid.map(double, range(10))
    work()
    begin()
    return list(found)


def by_executor(grid: Grid, work: Callable[[], None], begin: Callable[[], None]) -> list[Any]:
    with GridExecutor(grid) as pool:
        futures = [pool.submit(double, number) for number in range(10)]
        begin()

        def work_until_done() -> None:
            while not all(future.done() for future in futures):
                work()

        with ThreadPoolExecutor(1) as agent:
            done = agent.submit(work_until_done)
            found = [future.result(60) for future in futures]
            done.result(60)
    return found


WAYS = [by_results, by_as_completed, by_wait, by_map, by_executor]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [GridUnavailable, CredentialsExpired])
def test_an_outage_is_waited_for(
    plane: Plane, grid: Grid, trouble: Trouble, way: Callable[..., list[Any]], error: type[Exception]
) -> None:
    """Of more reads than any call repeats by itself."""

    def begin() -> None:
        trouble.error, trouble.left = lambda: error("for now"), 25

    assert way(grid, lambda: finish(plane, called), begin) == [2 * number for number in range(10)]
    assert trouble.left == 0


@pytest.mark.parametrize("way", WAYS)
def test_an_outage_that_begins_with_the_results(
    plane: Plane, grid: Grid, trouble: Trouble, way: Callable[..., list[Any]]
) -> None:
    """The session's row can be read all the time."""

    def begin() -> None:
        trouble.reads, trouble.left = ("outcome_pages", "root_pages", "get", "get_range"), 25

    assert way(grid, lambda: finish(plane, called), begin) == [2 * number for number in range(10)]
    assert trouble.left == 0


@pytest.mark.parametrize("way", WAYS)
def test_lost_replies_are_waited_for(plane: Plane, grid: Grid, trouble: Trouble, way: Callable[..., list[Any]]) -> None:
    def begin() -> None:
        trouble.share = 0.5

    assert way(grid, lambda: finish(plane, called), begin) == [2 * number for number in range(10)]


def test_large_results_are_waited_for_one_by_one(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a read of its own, in the middle of a page; so are errors, and what tasks printed."""
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(limits, "RANGE_PAYS_BYTES", 1 << 16)
    large, reads = replace(plane, inline_payload_bytes=1 << 10), 0

    def lengthy(event: int) -> str:
        if event == 1:
            raise ValueError("e" * 100_000)
        return "r" * 200_000

    def around(name: str, call: Callable[[], Any]) -> Any:
        nonlocal reads
        if name == "get_range":
            reads += 1
            if reads % 10:  # more than any call repeats by itself
                raise GridUnavailable("no route")
        return call()

    session = still_grid(watched(large, around)).submit("tests.e2e.handlers.double", range(3), retry=1, max_failures=1)
    finish(large, lengthy)
    assert [len(found) if isinstance(found, str) else found.index for found in session.results(errors="return")] == [
        200_000, 1, 200_000,
    ]  # fmt: skip
    assert reads >= 40


@pytest.mark.parametrize("way", WAYS)
def test_another_refusal_ends_the_wait(
    plane: Plane, grid: Grid, trouble: Trouble, way: Callable[..., list[Any]]
) -> None:
    def begin() -> None:
        trouble.error, trouble.left = lambda: AccessDenied("GetItem is not permitted"), 1 << 30

    with pytest.raises(AccessDenied, match="not permitted"):
        way(grid, lambda: finish(plane, called), begin)


def test_a_wait_keeps_to_its_timeout_in_an_outage(plane: Plane, grid: Grid, trouble: Trouble) -> None:
    session = grid.submit(double, [1])
    trouble.left = 1 << 30
    with pytest.raises(WaitTimeout):
        session.wait(0.05)
    with pytest.raises(WaitTimeout):
        list(session.as_completed(0.05))


def called(event: Any) -> Any:
    """What the manual agent makes of an event, or of a call."""
    return double(*event[0]) if isinstance(event, list) else double(event)


class TestRefusedHints:
    @pytest.mark.parametrize("count", [5, 200])
    @pytest.mark.parametrize("error", [GridUnavailable("throttled"), AccessDenied("not permitted")])
    def test_the_session_is_submitted(
        self, plane: Plane, caplog: pytest.LogCaptureFixture, count: int, error: Exception
    ) -> None:
        """In one step and in many; the reconciler sends what was refused."""

        def around(name: str, call: Callable[[], Any]) -> Any:
            if name == "send":
                raise error
            return call()

        with caplog.at_level(logging.WARNING):
            session = still_grid(watched(plane, around)).submit(double, range(count), bundle_size=1)
        assert f"session {session.id} is submitted" in caplog.text
        assert session.progress().total == count
        reconcile(plane, limits.LOCAL_RECONCILE_TICK_SECONDS)
        finish(plane, called)
        assert list(still_grid(plane).session(session.id).results()) == [2 * number for number in range(count)]
