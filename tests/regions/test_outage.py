"""A region that is down takes no other with it: lists, waits, news and what comes after."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest

from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.gateway.regions import asking
from htcgrid_core.gateway.regions.asking import at_once
from htcgrid_core.gateway.regions.names import region_of
from htcgrid_core.gateway.regions.region import Region
from tests.regions.given import EAST, SOUTH, WEST, World, world

HANDLER = "json.dumps"
BOTH = (WEST, EAST)


def one_in_each(two: World) -> dict[str, str]:
    """An id of a session in each region."""
    found: dict[str, str] = {}
    while len(found) < 2:
        session = two.grid.submit(HANDLER, [1, 2], name=f"number-{len(found)}")
        found.setdefault(str(region_of(session.id, BOTH)), session.id)
    return found


def test_lists_are_merged_and_in_order(two: World) -> None:
    for number in range(12):
        for name in BOTH:
            two[name].behind.clock.sleep(1.0)
        two.grid.submit(HANDLER, [1], labels={"number": str(number)})
    found = two.grid.sessions(limit=10)
    assert [session.labels["number"] for session in found] == [str(number) for number in range(11, 1, -1)]
    assert {region_of(session.id, BOTH) for session in found} == {WEST, EAST}
    assert len(two.grid.sessions(limit=100)) == 12
    assert not two.grid.sessions("COMPLETED")
    two.work()
    assert len(two.grid.sessions("COMPLETED")) == 12


def test_a_list_without_a_region_says_so(two: World, caplog: pytest.LogCaptureFixture) -> None:
    ids = one_in_each(two)
    two.down(WEST)
    with caplog.at_level(logging.WARNING):
        assert ids[EAST] in {session.id for session in two.grid.sessions()}
    assert f"region {WEST}" in caplog.text
    assert "its sessions are not in the list" in caplog.text
    with pytest.raises(GridUnavailable, match="not whole"):
        two.grid.sessions(every_region=True)
    with pytest.raises(GridUnavailable, match=WEST):
        two.grid.session("no-such-name")
    two.up(WEST)
    assert ids[WEST] in {session.id for session in two.grid.sessions(every_region=True)}
    with pytest.raises(SessionNotFound):
        two.grid.session("no-such-name")


def test_those_who_wait_for_several_go_on(two: World) -> None:
    """As a triggerer does, in one call for all: news of the others come, and none is said to be gone."""
    ids = one_in_each(two)
    assert {row.total for row in two.grid.progress(list(ids.values()))} == {2}
    two[EAST].work()
    two.down(WEST)
    found = {row.session_id: row for row in two.grid.progress(list(ids.values()))}
    assert found[ids[EAST]].state is SessionState.COMPLETED
    assert (found[ids[WEST]].state, found[ids[WEST]].total) == (SessionState.RUNNING, 2), "as it was last seen"
    fresh = {row.session_id: row for row in two.client().progress(list(ids.values()))}
    assert (fresh[ids[WEST]].state, fresh[ids[WEST]].ended) == (SessionState.SUBMITTED, False), "nothing is known"
    with pytest.raises(GridUnavailable):
        two.grid.progress([ids[WEST]])
    two.up(WEST)
    two[WEST].work()
    assert {row.state for row in two.grid.progress(list(ids.values()))} == {SessionState.COMPLETED}


def test_waiting_goes_on_over_the_outage(two: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = one_in_each(two)
    session = two.grid.session(ids[WEST])
    two.down(WEST)

    def pause(_: float) -> None:
        two.up(WEST)
        two[WEST].work()

    monkeypatch.setattr(session._patience, "_sleep", pause)
    assert session.wait(timeout=60).state is SessionState.COMPLETED
    assert len(list(session.results())) == 2


def test_everything_of_a_session_is_asked_where_it_is(two: World) -> None:
    ids = one_in_each(two)
    two.down(EAST)
    session = two.grid.session(ids[WEST])
    assert [task.index for task in session.tasks()] == [0, 1]
    assert session.task(1).index == 1
    assert list(session.events()) == [1, 2]
    session.adopt("me")
    assert {entry.session_id for entry in session.history()} == {ids[WEST]}
    assert session.notifications() == []
    two[WEST].work(lambda event: event * 10)
    assert list(session.results()) == [10, 20]
    assert list(session.pages())
    assert session.cancel("late").state is SessionState.COMPLETED
    with pytest.raises(GridUnavailable, match=EAST):
        two.grid.session(ids[EAST])


def test_an_id_of_another_region(two: World) -> None:
    three_ids = two.grid.submit(HANDLER, [1]).id
    other = three_ids.rpartition(f"-{region_of(three_ids, BOTH)}")[0] + f"-{SOUTH}"
    with pytest.raises(InvalidInput, match=SOUTH):
        two.grid.session(other)
    assert two.grid.progress([other]) == []
    with pytest.raises(SessionNotFound):
        two.grid.session(three_ids.replace("s-", "t-"))


def test_ends_are_told_once_each(two: World) -> None:
    """Those of a region that is down, when it is back."""
    told: list[str] = []
    ended = two.grid.ended(since=0.0)

    def listen() -> None:
        nonlocal ended
        more = True
        while more:
            page, more = ended.page()
            told.extend(session.id for session, _ in page)
            ended = two.grid.ended(ended.position, since=0.0)  # as a process that begins again does

    ids = [two.grid.submit(HANDLER, [1]).id for _ in range(10)]
    west = [each for each in ids if region_of(each, BOTH) == WEST]
    two.work()
    two.down(WEST)
    listen()
    assert sorted(told) == sorted(set(ids) - set(west))
    two.up(WEST)
    for _ in range(20):
        two.pass_(600.0)
        for name in BOTH:
            two[name].behind.clock.sleep(600.0)
        listen()
    assert sorted(told) == sorted(ids)


def test_loads_are_added(two: World) -> None:
    one_in_each(two)
    load = two.grid.measure()
    assert (sum(load.sessions.values()) >= 2, load.pending >= 4, load.slots_wanted("default") >= 4) == (
        True,
        True,
        True,
    )
    assert {demand.pool for demand in load.demand} == {"default"}
    assert two.grid.gateway.agents() == []


def test_destinations_are_in_every_region(two: World) -> None:
    hook = Destination(name="desk", target="https://desk.example/hook", secret="whsec_" + "A" * 32)
    two.gateway.add_destination(hook)
    for name in BOTH:
        assert [found.name for found in two[name].open().destinations()] == ["desk"]
    assert [found.name for found in two.gateway.destinations()] == ["desk"]
    two.down(EAST)
    with pytest.raises(GridUnavailable, match="again"):
        two.gateway.remove_destination("desk")
    two.up(EAST)
    assert two.gateway.remove_destination("desk")
    assert two.gateway.destinations() == []


def test_a_region_that_hangs_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked in threads, of which one never comes back."""
    release = threading.Event()
    two = world(tmp_path, ask=at_once)
    monkeypatch.setattr(asking, "ASK_SECONDS", 0.3)
    monkeypatch.setattr(two[WEST].outage, "check", lambda: release.wait(30.0))
    try:
        session = two.grid.submit(HANDLER, [1])
        assert region_of(session.id, BOTH) == EAST
        assert [found.id for found in two.grid.sessions()] == [session.id]
        two.grid.submit(HANDLER, [1])
    finally:
        release.set()


def test_what_takes_long_everywhere_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As much longer as the first one took, such as an upload: a region that is slower is not one that is silent."""
    two = world(tmp_path)
    monkeypatch.setattr(asking, "ASK_SECONDS", 0.0)
    first = threading.Event()

    def ask(region: Region, _: object) -> str:
        if region.name == EAST:
            first.wait(30.0)
            time.sleep(0.05)
        else:
            time.sleep(1.0)
            first.set()
        return region.name

    assert at_once(list(two.gateway.regions.values()), ask).all("nothing was asked") == {WEST: WEST, EAST: EAST}


def test_connecting_while_a_region_is_down(two: World, caplog: pytest.LogCaptureFixture) -> None:
    two.down(WEST)
    other = two.client()
    with caplog.at_level(logging.WARNING):
        other.gateway.open()  # type: ignore[attr-defined]
    assert WEST in caplog.text
    assert region_of(other.submit(HANDLER, [1]).id, BOTH) == EAST
    two.down(EAST)
    with pytest.raises(GridUnavailable):
        two.client().gateway.open()  # type: ignore[attr-defined]
