"""HTCGridSessionsEnded: each session that ends is told, to every asset that it updates, and over restarts."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher

from htcgrid_airflow.triggers import HTCGridSessionsEnded, remembered
from htcgrid_core import Grid, GridUnavailable, connect
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.testing.contracts import given
from tests.airflow.handlers import triple
from tests.planes import plane_of

PATIENCE_SECONDS = 60.0


class AssetState:
    """What Airflow keeps for one asset."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = value


class BlockingState:
    """The same in Airflow 3.3.0."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.threads: set[int] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.threads.add(threading.get_ident())
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.threads.add(threading.get_ident())
        self.values[key] = value


class States:
    """What Airflow hands to a trigger of several assets, or of one."""

    def __init__(self, *each: Any) -> None:
        self._by_name = {str(number): one for number, one in enumerate(each)}
        self._by_uri: dict[str, Any] = {}

    def _one(self) -> Any:
        if len(self._by_name) != 1:
            raise ValueError(f"{len(self._by_name)} assets: say which")
        return self._by_name["0"]

    async def aget(self, key: str, default: Any = None) -> Any:
        return await self._one().aget(key, default)

    async def aset(self, key: str, value: Any) -> None:
        await self._one().aset(key, value)


@pytest.fixture
def own_url(tmp_path: Path) -> str:
    """A grid whose sessions these tests end themselves."""
    return f"local://{tmp_path}/grid"


@pytest.fixture
def own_grid(own_url: str) -> Iterator[Grid]:
    """A connection to it."""
    with connect(own_url) as connected:
        yield connected


def begin(grid: Grid, session_id: str, **options: Any) -> None:
    """A session that runs, for no agent."""
    given.running(plane_of(grid).store, session_id=session_id, **options)


def end(grid: Grid, session_id: str, event: SessionEvent = SessionEvent.FAIL, at: float = given.NOW) -> None:
    """Its end, at a time of the test's choosing."""
    plane_of(grid).store.advance(session_id, event, now=at, actor="tester", reason="because")


def done(grid: Grid, *session_ids: str, at: float = given.NOW) -> None:
    """Sessions that have ended."""
    for session_id in session_ids:
        begin(grid, session_id)
        end(grid, session_id, at=at)


def watcher(url: str, store: Any = None, **arguments: Any) -> HTCGridSessionsEnded:
    """A quick one, as the triggerer makes it."""
    made = HTCGridSessionsEnded(grid=url, **{"states": ("FAILED", "CANCELLED"), "poll_interval": 0.02, **arguments})
    made.asset_state_store = store
    return made


class Watching:
    """A triggerer with one watcher, which it takes a moment to begin."""

    def __init__(self, found: HTCGridSessionsEnded) -> None:
        self._events = found.run()
        self.told: list[dict[str, Any]] = []

    async def __aenter__(self) -> Watching:
        self._task = asyncio.create_task(self._collect())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._events.aclose()  # type: ignore[attr-defined] # it is an async generator

    async def _collect(self) -> None:
        async for event in self._events:
            self.told.append(event.payload)

    @property
    def ids(self) -> list[str]:
        return [payload["session_id"] for payload in self.told]

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so():
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.01)

    async def hears(self, *session_ids: str) -> None:
        await self.until(lambda: set(session_ids) <= set(self.ids))


async def begun(grid: Grid, watching: Watching) -> None:
    """Once it watches: sessions that end are told from now on."""
    for number in range(1000):
        name = f"s-begun-{number:04d}"
        done(grid, name)
        await asyncio.sleep(0.05)
        if watching.ids:
            return
    pytest.fail("it does not begin")


def test_however_long_it_ran_and_however_many_ended_meanwhile(own_url: str, own_grid: Grid) -> None:
    """Those told so far were the newest thousand that were submitted."""
    begin(own_grid, "s-long", submitted_at=given.NOW - 3600)
    store = States(AssetState())

    async def scenario() -> list[str]:
        async with Watching(watcher(own_url, store)) as watching:
            await begun(own_grid, watching)
            done(own_grid, *(f"s-short-{number:04d}" for number in range(1100)))
            end(own_grid, "s-long")
            await watching.hears("s-long", *(f"s-short-{number:04d}" for number in range(1100)))
            return watching.ids

    told = asyncio.run(scenario())
    assert len(told) == len(set(told)), "each once, while the triggerer lives"


def test_in_one_instant_and_with_wrong_clocks(own_url: str, own_grid: Grid) -> None:
    ahead = time.time() + 600

    async def scenario() -> None:
        async with Watching(watcher(own_url, States(AssetState()))) as watching:
            await begun(own_grid, watching)
            done(own_grid, "s-ahead", at=ahead)
            await watching.hears("s-ahead")
            done(own_grid, "s-behind", at=time.time() - 600)
            done(own_grid, "s-at-once", at=ahead)
            await watching.hears("s-behind", "s-at-once")

    asyncio.run(scenario())


def test_sessions_that_live_and_those_told_cost_nothing(
    own_url: str, own_grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(150):
        begin(own_grid, f"s-live-{number:04d}")
    asked: list[str] = []
    looks = 0
    real, real_ended = InProcessGateway.progress, InProcessGateway.ended

    def progress(self: InProcessGateway, ids: list[str]) -> Any:
        asked.extend(ids)
        return real(self, ids)

    def ended(self: InProcessGateway, *arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return real_ended(self, *arguments)

    monkeypatch.setattr(InProcessGateway, "progress", progress)
    monkeypatch.setattr(InProcessGateway, "ended", ended)

    async def scenario() -> None:
        async with Watching(watcher(own_url, States(AssetState()))) as watching:
            await begun(own_grid, watching)
            seen = looks
            await watching.until(lambda: looks > seen + 5)
            assert len(asked) == len(set(asked)), "each is read once, when it has ended"
            assert not any(session_id.startswith("s-live") for session_id in asked)

    asyncio.run(scenario())


def test_labels_and_states(grid: Grid, grid_url: str) -> None:
    desk = uuid.uuid4().hex

    async def scenario() -> list[dict[str, Any]]:
        made = watcher(grid_url, States(AssetState()), labels={"desk": desk}, states=("COMPLETED",))
        async with Watching(made) as watching:
            while not watching.told:
                others = grid.submit(triple, [1]), grid.submit(triple, ["x", None], labels={"desk": desk})
                mine = grid.submit(triple, [1, 2], labels={"desk": desk}, name="book")
                for session in (*others, mine):
                    await asyncio.to_thread(session.wait, 60)
            return watching.told

    told = asyncio.run(asyncio.wait_for(scenario(), PATIENCE_SECONDS))
    assert {(event["state"], event["labels"]["desk"]) for event in told} == {("COMPLETED", desk)}
    assert told[0].keys() == {"session_id", "grid", "name", "labels", "state", "total", "completed", "failed"}
    assert (told[0]["name"], told[0]["total"], told[0]["grid"]) == ("book", 2, grid_url)


# Restarts


@pytest.mark.parametrize("kinds", [(AssetState,), (AssetState, AssetState), (BlockingState, BlockingState)])
@pytest.mark.parametrize("settled", [True, False])
def test_no_end_is_lost_while_no_triggerer_runs(
    own_url: str, own_grid: Grid, monkeypatch: pytest.MonkeyPatch, kinds: tuple[Any, ...], settled: bool
) -> None:
    """Whether or not Airflow had stored what was told last; and of two assets with equal watchers."""
    states = [kind() for kind in kinds]
    if settled:
        monkeypatch.setattr(remembered, "SETTLE_SECONDS", 0.0)

    async def scenario() -> list[str]:
        async with Watching(watcher(own_url, States(*states))) as watching:
            await begun(own_grid, watching)
            await watching.until(lambda: all(state.values for state in states))
            kept = [dict(state.values) for state in states]
            done(own_grid, "s-before")
            await watching.hears("s-before")
            if settled:
                await watching.until(lambda: all(state.values != old for state, old in zip(states, kept, strict=True)))
        done(own_grid, *(f"s-away-{number:04d}" for number in range(250)))
        async with Watching(watcher(own_url, States(*states))) as again:
            await again.hears(*(f"s-away-{number:04d}" for number in range(250)))
            return again.ids

    told = asyncio.run(scenario())
    assert len(told) == len(set(told))
    if not settled:
        assert "s-before" in told, "it may not have been stored"
    assert all(threading.main_thread().ident not in state.threads for state in states if hasattr(state, "threads"))


def test_an_asset_that_comes_later_goes_on_where_the_other_is(own_url: str, own_grid: Grid) -> None:
    first, second = AssetState(), AssetState()

    async def scenario() -> None:
        async with Watching(watcher(own_url, States(first))) as watching:
            await watching.until(lambda: bool(first.values))
        done(own_grid, "s-between")
        async with Watching(watcher(own_url, States(first, second))) as again:
            await again.hears("s-between")

    asyncio.run(scenario())


def test_watchers_of_one_asset_do_not_share_a_position(own_url: str, own_grid: Grid) -> None:
    state = AssetState()

    async def scenario() -> None:
        for states in (("FAILED",), ("CANCELLED",)):
            before = len(state.values)
            async with Watching(watcher(own_url, States(state), states=states)) as watching:
                await watching.until(lambda before=before: len(state.values) > before)  # type: ignore[misc]
        done(own_grid, "s-between")
        async with Watching(watcher(own_url, States(state), states=("FAILED",))) as again:
            await again.hears("s-between")

    asyncio.run(scenario())


def test_from_what_an_earlier_version_kept(own_url: str, own_grid: Grid) -> None:
    """The end of the newest session that it had told of."""
    done(own_grid, "s-told", at=given.NOW - 100)
    done(own_grid, "s-missed", at=given.NOW - 50)
    state = AssetState()
    state.values["htcgrid_ended_at"] = given.NOW - 100

    async def scenario() -> list[str]:
        async with Watching(watcher(own_url, States(state))) as watching:
            await watching.hears("s-missed")
            return watching.ids

    assert asyncio.run(scenario()) == ["s-missed"]


def test_it_begins_with_what_ends_from_now_on(own_url: str, own_grid: Grid) -> None:
    done(own_grid, "s-long-ago", at=given.NOW - 5)

    async def scenario() -> list[str]:
        async with Watching(watcher(own_url)) as watching:
            await begun(own_grid, watching)
            return watching.ids

    assert "s-long-ago" not in asyncio.run(scenario())


def test_a_grid_that_is_away_at_first(own_url: str, own_grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends meanwhile is told when it is back."""
    away = threading.Event()
    tried = threading.Event()
    real = InProcessGateway.ended

    def ended(self: InProcessGateway, *arguments: Any) -> Any:
        if not away.is_set():
            tried.set()
            raise GridUnavailable("the store does not answer")
        return real(self, *arguments)

    monkeypatch.setattr(InProcessGateway, "ended", ended)

    async def scenario() -> None:
        async with Watching(watcher(own_url, States(AssetState()))) as watching:
            await watching.until(tried.is_set)
            done(own_grid, "s-meanwhile", at=time.time() + 600)
            away.set()
            await watching.hears("s-meanwhile")

    asyncio.run(scenario())


def test_a_store_that_fails_stops_nobody(own_url: str, own_grid: Grid, capfd: pytest.CaptureFixture[str]) -> None:
    class Failing(AssetState):
        async def aset(self, key: str, value: Any) -> None:
            raise RuntimeError("the api-server is away")

    async def scenario() -> None:
        async with Watching(watcher(own_url, States(Failing()))) as watching:
            await begun(own_grid, watching)

    asyncio.run(scenario())
    assert "could not be kept: the api-server is away" in capfd.readouterr().out


def test_airflows_own_store_of_two() -> None:
    """Its accessors for several assets refuse together; each by itself is there."""
    accessors = pytest.importorskip("airflow.sdk.execution_time.context")
    if not hasattr(accessors, "AssetStateStoreAccessors"):
        pytest.skip("Airflow keeps state for assets from 3.3 on")
    store = accessors.AssetStateStoreAccessors(inlets=[Asset("one"), Asset("two")])
    found = remembered.Remembered(store, "key", print)._accessors
    assert found == [accessors.AssetStateStoreAccessor(name=name) for name in ("one", "two")]


def test_it_can_watch_for_an_asset() -> None:
    watching = AssetWatcher(name="sessions", trigger=HTCGridSessionsEnded(labels={"desk": "rates"}))
    path, arguments = watching.trigger.serialize()
    assert path == "htcgrid_airflow.triggers.HTCGridSessionsEnded"
    assert HTCGridSessionsEnded(**arguments).serialize() == (path, arguments)
