"""The model under ``make bench-aws``: it refuses what DynamoDB would, and a small fleet keeps within its limits."""

from __future__ import annotations

from functools import partial

import pytest

from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.testing.simulator.world import World
from tests.aws.bench.model import READS_A_SECOND, WRITES_A_SECOND, Dynamo
from tests.aws.bench.scale import SLOTS, Fleet, Fleetwide, rows_of

CALL_SECONDS = 0.001


def spread(dynamo: Dynamo, world: World, callers: int, calls: int, item: str | None, **units: dict[str, int]) -> None:
    """So many callers, each of which makes so many calls one after another."""

    def call() -> None:
        for _ in range(calls):
            try:
                dynamo.call(CALL_SECONDS, units.get("writes", {}), units.get("reads", {}), item)
            except GridUnavailable:
                return

    for number in range(callers):
        world.spawn(f"caller-{number}", call)
    world.run(world.now + 60.0)


@pytest.mark.parametrize(("kind", "limit"), [("writes", WRITES_A_SECOND), ("reads", READS_A_SECOND)])
def test_a_hot_key_is_throttled(kind: str, limit: int) -> None:
    world = World(1)
    dynamo = Dynamo(world)
    spread(dynamo, world, 20, 50, None, **{kind: {"hot": limit // 100}})
    assert dynamo.demand.throttled
    assert limit * 0.9 < dynamo.demand.hottest(getattr(dynamo.demand, kind))[1] <= limit


def test_what_is_spread_over_keys_is_not() -> None:
    world = World(1)
    dynamo = Dynamo(world)
    for key in "abcdefghij":
        partial(spread, dynamo, world, 2, 50, None)(writes={key: WRITES_A_SECOND // 200})
    assert not dynamo.demand.throttled


def test_transactions_on_one_item_meet() -> None:
    world = World(1)
    dynamo = Dynamo(world)
    spread(dynamo, world, 10, 5, "lane")
    assert dynamo.demand.conflicts


def test_a_small_fleet() -> None:
    found = Fleetwide(Fleet(agents=8, task_seconds=2.0, sessions=2, seconds=8.0)).run(lambda _: None)
    assert found.tasks_a_second > 0.85 * 8 * SLOTS / 2.0
    assert min(found.hottest_writes[1], found.hottest_reads[1], found.most_in_flight) > 0
    assert not [row for row in rows_of(found) if row.passed is False and row.budget]
