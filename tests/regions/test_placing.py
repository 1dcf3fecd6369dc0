"""Where new sessions go: by weight, backlog and health, and to a region that has what they need."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core.domain.alias import Alias
from htcgrid_core.domain.errors import FunctionNotFound, GridUnavailable, InvalidInput
from htcgrid_core.domain.placing import Candidate, chosen
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.gateway.regions.asking import in_turn
from htcgrid_core.gateway.regions.names import in_region, region_of
from htcgrid_core.gateway.regions.placement import MEASURE_SECONDS
from htcgrid_core.gateway.regions.region import Region
from htcgrid_core.services import aliases
from tests.regions.given import EAST, SOUTH, WEST, World, world

HANDLER = "json.dumps"


def where(ids: list[str]) -> Counter[str | None]:
    return Counter(region_of(each, (WEST, EAST, SOUTH)) for each in ids)


def submitted(two: World, count: int, **options: object) -> list[str]:
    return [two.grid.submit(HANDLER, [1], **options).id for _ in range(count)]  # type: ignore[arg-type]


def test_by_weight(tmp_path: Path) -> None:
    found = where(submitted(world(tmp_path, weights={WEST: 3.0, EAST: 1.0}), 200))
    assert found.keys() == {WEST, EAST}
    assert 120 < found[WEST] < 180


def test_a_region_of_weight_0_gets_none_and_is_read(tmp_path: Path) -> None:
    drained = world(tmp_path, weights={WEST: 0.0, EAST: 1.0})
    assert where(submitted(drained, 20)) == {EAST: 20}
    earlier = world(tmp_path).client(weights={WEST: 1.0}).submit(HANDLER, [1])
    assert drained.client().gateway.describe()
    assert region_of(earlier.id, (WEST,)) == WEST


def test_a_busy_region_gets_fewer(two: World) -> None:
    """Of a region with as many tasks as ten times its slots, a tenth of what its weight is worth."""
    two.client(weights={WEST: 1.0}).submit(HANDLER, range(1000))
    found = where(submitted(two, 100))
    assert found[EAST] > 80, found


def test_only_where_the_pool_is(two: World) -> None:
    two[WEST].pools = ("default",)
    assert where(submitted(two, 10, pool="large")) == {EAST: 10}
    two[EAST].pools = ("default",)
    other = two.client()
    with pytest.raises(InvalidInput, match="pool 'large'"):
        other.submit(HANDLER, [1], pool="large")


def test_only_where_the_larger_pool_is_too(two: World) -> None:
    two[WEST].pools, two[EAST].pools = ("default",), ("large",)
    with pytest.raises(InvalidInput, match="'default' and 'large': eu-west-1 has default; us-east-1 has large"):
        two.client().submit(HANDLER, [1], retry=RetryPolicy(on_out_of_memory="large"))
    two[EAST].pools = ("default", "large")
    for seed in range(4):
        moving = two.client(seed=seed).submit(HANDLER, [1], retry=RetryPolicy(on_out_of_memory="large"))
        assert region_of(moving.id, (WEST, EAST)) == EAST


def test_those_who_begin_at_the_same_moment_all_find_a_region(two: World) -> None:
    """One that submits while another looks for the first time at what the regions have to do."""
    found: list[str] = []

    def ask(regions: Sequence[Region], look: Any) -> Any:
        if not found:
            found.append("")
            found.append(client.submit(HANDLER, [1]).id)
        return in_turn(regions, look)

    client = two.client()
    client.gateway._placement._ask = ask  # type: ignore[attr-defined]
    found.append(client.submit(HANDLER, [1]).id)
    assert len({*found}) == 3


def test_a_region_that_is_down_gets_none(two: World) -> None:
    submitted(two, 1)
    two.down(WEST)
    two.pass_(MEASURE_SECONDS)
    assert where(submitted(two, 20)) == {EAST: 20}
    two.up(WEST)
    assert where(submitted(two, 40))[WEST] > 5, "it comes back by itself"


def test_no_region_is_up(two: World) -> None:
    for name in (WEST, EAST):
        two.down(name)
    with pytest.raises(GridUnavailable, match=WEST):
        two.grid.submit(HANDLER, [1])


def test_a_region_that_goes_down_while_it_is_submitted_to(two: World) -> None:
    """It is told, for nobody knows whether the session is there. The next one goes elsewhere, without a look."""
    two.grid.submit(HANDLER, [1])  # and so both are known to be well
    two.down(WEST)
    refused = []
    for _ in range(20):
        try:
            assert region_of(two.grid.submit(HANDLER, [1]).id, (WEST, EAST)) == EAST
        except GridUnavailable as error:
            refused.append(str(error))
    assert [WEST in why for why in refused] == [True]


def test_a_region_that_is_down_is_left_alone(two: World) -> None:
    """Whatever is asked, by however many: two failures, and then a probe, ever more rarely."""
    sessions = [two.grid.submit(HANDLER, [1]) for _ in range(8)]
    two.down(WEST)
    before = two[WEST].outage.calls
    asked = 0
    for _ in range(600):
        two.pass_(1.0)
        asked += 1
        two.grid.progress([session.id for session in sessions])
        two.grid.submit(HANDLER, [1])
    assert asked == 600
    assert two[WEST].outage.calls - before < 100
    two.up(WEST)
    assert len(two.grid.progress([session.id for session in sessions])) == 8


def test_functions_run_where_they_are_deployed_alike(two: World, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "pricing.py").write_text("def handler(event, context): return event\n")
    first = two.grid.deploy("price", code, handler="pricing.handler")
    assert [found.version for found in two.grid.functions("price")] == [1]
    assert {region_of(two.grid.submit("price", [1]).id, (WEST, EAST)) for _ in range(20)} == {WEST, EAST}
    # To one alone: its number means nothing elsewhere.
    (code / "pricing.py").write_text("def handler(event, context): return -event\n")
    second = two.client(weights={EAST: 1.0}).deploy("price", code, handler="pricing.handler")
    assert (first.version, second.version) == (1, 2)
    assert {region_of(two.grid.submit("price:2", [1]).id, (WEST, EAST)) for _ in range(20)} == {EAST}
    (code / "pricing.py").write_text("def handler(event, context): return 0\n")
    third = two.client(weights={WEST: 1.0}).deploy("price", code, handler="pricing.handler")
    assert third.version == 2
    ran = {region_of(two.grid.submit("price:2", [1]).id, (WEST, EAST)) for _ in range(20)}
    assert ran == {WEST}, "the first region's is meant where two differ"
    with pytest.raises(FunctionNotFound):
        two.grid.submit("nothing", [1])


def test_an_alias_of_a_function(two: World, tmp_path: Path) -> None:
    """Means a version, in a region as in several; a token keeps what it meant."""
    for number in (1, 2):
        (tmp_path / "pricing.py").write_text(f"def handler(event, context): return {number}\n")
        two.grid.deploy("price", tmp_path, handler="pricing.handler")
    alone = two.client(weights={EAST: 1.0})
    for grid, name, places in ((two.grid, "both", (WEST, EAST)), (alone, "one", (EAST,))):
        with pytest.raises(FunctionNotFound, match=f"no alias '{name}'"):
            grid.submit(f"price:{name}", [1])
        for place in places:
            aliases.put(two[place].behind, "price", Alias(name=name, version=1))
        first = grid.submit(f"price:{name}", [1], token=name)
        for place in places:
            aliases.put(two[place].behind, "price", Alias(name=name, version=2))
        assert first.spec.function.name == "price:1"
        assert grid.submit(f"price:{name}", [1], token=name).id == first.id
        assert grid.submit(f"price:{name}", [1]).spec.function.name == "price:2"
    own = two[EAST].open()
    aliases.put(two[EAST].behind, "price", Alias(name="half", version=1, other_version=2, other_weight=0.5))
    assert {own.function("price", "half").version for _ in range(60)} == {1, 2}
    assert len({own.function("price", "half", session_id="s-one").version for _ in range(20)}) == 1
    for name, alias in (("../price", "half"), ("price", "../half"), ("nothing", "half")):
        with pytest.raises(FunctionNotFound):
            own.function(name, alias)


def test_deploying_takes_every_region(two: World, tmp_path: Path) -> None:
    (tmp_path / "pricing.py").write_text("def handler(event, context): return event\n")
    two.down(EAST)
    with pytest.raises(GridUnavailable, match="not deployed"):
        two.grid.deploy("price", tmp_path, handler="pricing.handler")
    two.up(EAST)
    assert two.grid.functions() == []
    two.grid.deploy("price", tmp_path, handler="pricing.handler")
    two.down(EAST)
    with pytest.raises(GridUnavailable, match="not removed"):
        two.gateway.remove_function("price")
    two.up(EAST)
    assert two.gateway.remove_function("price") == [1]
    assert two.grid.functions() == []


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1000)), min_size=1, max_size=5), st.integers())
def test_whoever_may_be_chosen_has_weight(drawn: list[tuple[int, float]], seed: int) -> None:
    candidates = [Candidate(f"r{at}", float(weight), backlog) for at, (weight, backlog) in enumerate(drawn)]
    found = chosen(candidates, random.Random(seed))
    assert (found is None) == (not any(weight for weight, _ in drawn))
    assert found is None or found.weight > 0


@pytest.mark.parametrize(
    "session_id", ["s-0123456789abcdef01234567", "t-0123456789abcdef01234567", "desk.s-" + "0" * 24]
)
def test_an_id_names_its_region(session_id: str) -> None:
    assert region_of(session_id, (WEST,)) is None
    assert region_of(in_region(session_id, WEST), (WEST, EAST)) == WEST
    assert region_of(in_region(session_id, SOUTH), (WEST, EAST)) == SOUTH, "which the URL does not name"
