"""Reducers on a grid: combined where the tasks ran, counted once; a value at risk over a million paths is one call."""

from __future__ import annotations

import itertools
import math
import os
import random
import resource
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, InvalidInput, RetryPolicy, SessionFailed, TaskFailed, connect
from htcgrid_core.reducers import Concat, Count, Mean, Quantiles, Several, Sum, Top, Variance

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def grid(url: str) -> Iterator[Grid]:
    """A connection."""
    with connect(url) as connected:
        yield connected


def only_even(number: int) -> int:
    """Refuses odd numbers."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def tenfold(event: Any, context: Any) -> Any:
    """A named handler."""
    return event * 10


def path(seed: int) -> float:
    """The loss of one path: a portfolio of 100 with a volatility of 2 % a day, over 10 days."""
    return 100 - 100 * math.exp(0.02 * math.sqrt(10) * random.Random(seed).gauss(0, 1))


def test_results_are_combined_in_their_tasks(grid: Grid) -> None:
    assert grid.map_reduce(abs, range(3001), Sum(), name="sums") == 3000 * 3001 // 2
    (session,) = [one for one in grid.sessions() if one.name.startswith("sums")]
    assert session.progress().total < 3001  # chunks, of which each is one task with one partial result


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_the_size_of_chunks_does_not_show(grid: Grid, chunk_size: int) -> None:
    reducer = Several(mean=Mean(), spread=Variance(), worst=Top(2), all=Concat(), count=Count())
    values = [0.1 * number for number in range(50)]
    found = grid.map_reduce(abs, values, reducer, chunk_size=chunk_size)
    assert found["all"] == values
    state = reducer.zero()
    for value in values:
        state = reducer.add(state, value)
    assert found == reducer.finish(state)


def test_events_of_a_generator_and_none(grid: Grid) -> None:
    assert grid.map_reduce(abs, (number for number in (-1, -2)), Sum()) == 3
    assert grid.map_reduce(abs, [], Mean()) is None


def test_a_function_may_take_the_context(grid: Grid) -> None:
    assert grid.map_reduce(lambda event, context: event * context.attempt, range(4), Sum(), chunk_size=2) == 6


def test_named_functions(grid: Grid) -> None:
    assert grid.map_reduce(f"{__name__}.tenfold", range(4), Sum()) == 60


def test_attempts_that_failed_and_workers_that_died_do_not_count_twice(grid: Grid, tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    def counted(number: int) -> int:
        with open(runs, "a") as log:
            log.write(f"{number}\n")
        tries = runs.read_text().split().count(str(number))
        if number == 13 and tries == 1:
            raise ConnectionError("the first time")
        if number == 17 and tries == 1:
            os._exit(1)  # with the results of its chunk's other events
        return number

    policy = RetryPolicy(max_attempts=3, backoff_base_seconds=0, backoff_cap_seconds=0)
    found = grid.map_reduce(counted, range(20), Several(sum=Sum(), count=Count()), chunk_size=10, retry=policy)
    assert found == {"sum": 190, "count": 20}
    assert len(runs.read_text().split()) > 20


def test_a_failure_names_its_event(grid: Grid) -> None:
    with pytest.raises(SessionFailed, match="1 is odd") as caught:
        grid.map_reduce(only_even, range(8), Sum(), retry=ONCE, chunk_size=4)
    assert "of event 1" in caught.value.failures[0].error.traceback


def test_failures_that_are_tolerated_are_left_out_and_told(grid: Grid) -> None:
    with pytest.warns(UserWarning, match=r"4 of 9 events failed; the first is event 1: ValueError: 1 is odd"):
        found = grid.map_reduce(only_even, range(9), Sum(), retry=2, chunk_size=4, errors="skip", max_failures=0.5)
    assert found == 20
    with pytest.raises(SessionFailed, match=r"4 of 9 events failed; .*tolerates 3"):
        grid.map_reduce(only_even, range(9), Sum(), retry=ONCE, chunk_size=4, errors="skip", max_failures=3)
    with pytest.raises(TaskFailed, match="1 is odd"):
        grid.map_reduce(only_even, range(3), Sum(), retry=ONCE, chunk_size=1, max_failures=1)


def test_results_that_the_reducer_cannot_take_are_failures(grid: Grid) -> None:
    with pytest.raises(SessionFailed, match="no number"):
        grid.map_reduce(str, range(3), Sum(), retry=ONCE)
    with pytest.raises(InvalidInput, match="event 0: TypeError: the result has no 'x'"):
        grid.map_reduce(f"{__name__}.tenfold", range(3), Sum(of="x"))
    with pytest.warns(UserWarning, match="1 of 2 events failed; the first is event 1: ValueError: the result is NaN"):
        assert grid.map_reduce(float, ["3", "nan"], Sum(), errors="skip", max_failures=1, retry=ONCE) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert grid.map_reduce(float, ["3", "nan"], Sum(nan="omit")) == 3


def test_the_same_token_comes_back(grid: Grid, tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    def noted(number: int) -> int:
        with open(runs, "a") as log:
            log.write(f"{number}\n")
        return number

    assert [grid.map_reduce(noted, range(5), Sum(), token="once") for _ in range(2)] == [10, 10]
    assert len(runs.read_text().split()) == 5


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"group_size": 2}, "group_size is of reduce functions"),
        ({"chunk_size": 0}, "1 or more"),
        ({"codec": "json"}, "pickled"),
    ],
)
def test_what_does_not_go_together(grid: Grid, how: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        grid.map_reduce(abs, [1], Sum(), **how)


def test_chunks_are_of_callables_and_reducers(grid: Grid) -> None:
    with pytest.raises(InvalidInput, match="chunk_size is of reducers"):
        grid.map_reduce(abs, [1], sum, chunk_size=2)
    with pytest.raises(InvalidInput, match="chunk_size is for callables"):
        grid.map_reduce(f"{__name__}.tenfold", [1], Sum(), chunk_size=2)


def test_events_that_cannot_be_pickled_are_told_by_their_number(grid: Grid) -> None:
    unpicklable: list[Any] = [threading.Lock()]
    events = itertools.chain(range(2048), unpicklable)
    with pytest.raises(InvalidInput, match="cannot be pickled"):
        grid.map_reduce(abs, events, Sum())


def value_at_risk(grid: Grid, paths: int) -> dict[float, float]:
    """What is lost in one day of a hundred, and of a thousand."""
    found: dict[float, float] = grid.map_reduce(path, range(paths), Quantiles([0.99, 0.999]))
    return found


def exact(q: float) -> float:
    """The same by its formula."""
    from statistics import NormalDist

    return 100 - 100 * math.exp(0.02 * math.sqrt(10) * NormalDist().inv_cdf(1 - q))


def test_a_value_at_risk_is_one_call(grid: Grid) -> None:
    found = value_at_risk(grid, 20_000)
    drawn = sorted(path(seed) for seed in range(20_000))
    for q, value in found.items():
        assert value == pytest.approx(drawn[math.floor(q * 19_999)], rel=0.001 + 1e-9)


@pytest.mark.slow
def test_a_value_at_risk_over_a_million_paths(grid: Grid) -> None:
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    found = value_at_risk(grid, 1_000_000)
    took, grown = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"a million paths in {took:.1f} s, the client's memory up by {grown / 1024:.0f} MiB: {found}")
    for q, value in found.items():
        assert value == pytest.approx(exact(q), rel=0.03)  # of the paths drawn, not of the sketch
    assert grown < 256 << 10
