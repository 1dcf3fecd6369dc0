"""What did not complete runs again: where it was, or elsewhere on request."""

from __future__ import annotations

from typing import Any

import pytest

from htcgrid_core.client.session import Session
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput, SessionConflict, SessionNotFinished
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.gateway.regions.names import region_of
from tests.planes import memory_plane, still_grid
from tests.regions.given import EAST, SOUTH, WEST, World, world

HANDLER = "json.dumps"
BOTH = (WEST, EAST)
ONCE = RetryPolicy(max_attempts=1)


def fails_on(*bad: int) -> Any:
    def call(event: int) -> int:
        if event in bad:
            raise ValueError("no good")
        return event * 10

    return call


def failed(two: World, name: str = WEST, events: Any = range(5), bad: tuple[int, ...] = (1, 3)) -> Session:
    """A session of a region whose tasks of these events failed."""
    while True:
        session = two.grid.submit(HANDLER, events, retry=ONCE)
        if region_of(session.id, BOTH) == name:
            two.work(fails_on(*bad))
            assert session.progress().state is SessionState.FAILED
            return session
        session.cancel()


def test_where_it_was(two: World) -> None:
    parent = failed(two)
    again = two.grid.resubmit(parent)
    assert (region_of(again.id, BOTH), again.progress().total) == (WEST, 2)
    two.work(fails_on())
    assert list(again.results()) == [0, 10, 20, 30, 40]


def test_elsewhere_and_back(two: World) -> None:
    parent = failed(two)
    second = two.grid.resubmit(parent, region=EAST)
    assert region_of(second.id, BOTH) == EAST
    two.work(fails_on(3))
    assert second.progress().state is SessionState.FAILED
    third = two.grid.resubmit(second, region=WEST)
    assert (region_of(third.id, BOTH), third.progress().total) == (WEST, 1)
    two.work(fails_on())
    assert list(two.client().session(third.id).results()) == [0, 10, 20, 30, 40]
    assert list(third.events()) == [3]
    gaps = list(second.results(errors="return"))
    assert [type(gap).__name__ for gap in gaps].count("TaskFailed") == 1
    outcomes = two.gateway.outcomes(third.record, 3)
    assert [index for index, _ in outcomes] == [3, 4]


def test_under_a_token(two: World) -> None:
    parent = failed(two)
    first = two.grid.resubmit(parent, token="again", region=EAST)
    assert two.client().resubmit(parent.id, token="again", region=EAST).id == first.id
    assert two.client().resubmit(parent.id, token="again").id == first.id, "where the token's is"
    other = failed(two, bad=(2,))
    with pytest.raises(SessionConflict):
        two.grid.resubmit(other, token="again", region=EAST)


def test_refusals(two: World) -> None:
    parent = failed(two)
    with pytest.raises(InvalidInput, match="none of this grid's regions"):
        two.grid.resubmit(parent, region=SOUTH)
    running = two.grid.submit(HANDLER, [1])
    (other,) = {*BOTH} - {region_of(running.id, BOTH)}
    with pytest.raises(SessionNotFinished):
        two.grid.resubmit(running, region=str(other))


def test_of_a_region_that_does_not_answer(two: World) -> None:
    """Its events are there, and nowhere else: nothing is begun without them."""
    parent = failed(two)
    two.down(WEST)
    with pytest.raises(GridUnavailable, match=WEST):
        two.grid.resubmit(parent, region=EAST)
    assert not two[EAST].behind.store.live_sessions()


def test_a_grid_of_one_region(two: World, tmp_path: Any) -> None:
    with pytest.raises(InvalidInput, match="regions"):
        still_grid(memory_plane(tmp_path / "one")).gateway.resubmit("s-1234", "s-5678", idempotent=False, region=EAST)


def test_with_inputs_and_callables(two: World) -> None:
    """They are copied, and signed with the key of where they go."""
    shared = two.grid.put({1: (2,)})

    def broken(event: object) -> object:
        raise ValueError("no good")

    while True:
        session = two.grid.submit(broken, [{"curve": shared}], retry=ONCE)
        if region_of(session.id, BOTH) == WEST:
            break
    session.cancel()
    two.work()
    again = two.client().resubmit(session.id, region=EAST)
    (event,) = again.events()
    assert isinstance(event["curve"], SharedInput)
    for key in (f"shared/{event['curve'].digest}", str(again.spec.function.blob)):
        assert two[EAST].behind.blobs.exists(key)


def test_deployed_functions(two: World, tmp_path: Any) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "pricing.py").write_text("def handler(event, context): return event\n")
    two.grid.deploy("price", code, handler="pricing.handler")
    while True:
        session = two.grid.submit("price", [1])
        if region_of(session.id, BOTH) == WEST:
            break
    session.cancel()
    two.work()
    two.client(weights={WEST: 1.0}).gateway.remove_function("price")  # which sessions keep
    again = two.client().resubmit(session.id, region=EAST)
    assert again.spec.function.name == "price:1"
    assert two[EAST].behind.blobs.exists(str(again.spec.function.blob))


def test_three_regions(tmp_path: Any) -> None:
    three = world(tmp_path, (WEST, EAST, SOUTH))
    ids = {region_of(three.grid.submit(HANDLER, [1]).id, three.places) for _ in range(30)}
    assert ids == {WEST, EAST, SOUTH}
