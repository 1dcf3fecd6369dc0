"""``grid.map_reduce``: the reduce is a task too, and sees the results in order."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, InvalidInput, RetryPolicy, SessionFailed, SessionState, TaskFailed, connect
from htcgrid_core.client.session import Session

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def grid(url: str) -> Iterator[Grid]:
    """A connection."""
    with connect(url) as connected:
        yield connected


def words(line: str) -> dict[str, int]:
    """How often each word stands in a line."""
    return {word: line.split().count(word) for word in line.split()}


def merged(counts: list[dict[str, int]]) -> dict[str, int]:
    """Counts put together."""
    total: dict[str, int] = {}
    for count in counts:
        for word, number in count.items():
            total[word] = total.get(word, 0) + number
    return total


def joined(parts: list[str]) -> str:
    """Text in the order in which it came, and how it was grouped."""
    return f"({''.join(parts)})"


def letter(number: int) -> str:
    """The later, the sooner it is done."""
    time.sleep(0.02 * (5 - number))
    return "abcdef"[number]


def only_even(number: int) -> int:
    """Refuses odd numbers."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def handler(event: Any, context: Any) -> Any:
    """A named handler, for both."""
    return sum(event) if isinstance(event, list) else event * 10


def here(_: Any) -> int:
    """The process it runs in."""
    return os.getpid()


def of_name(grid: Grid, name: str) -> list[Session]:
    """Sessions of one test, oldest first."""
    return [session for session in reversed(grid.sessions()) if session.name.startswith(name)]


def test_words_are_counted(grid: Grid) -> None:
    lines = ["a rose is a rose", "is a rose", "a"]
    assert grid.map_reduce(words, lines, merged) == {"a": 4, "rose": 3, "is": 2}


def test_the_reduce_sees_the_results_in_order(grid: Grid) -> None:
    assert grid.map_reduce(letter, range(6), joined) == "(abcdef)"


def test_the_reduce_is_a_task(grid: Grid) -> None:
    pids = grid.map_reduce(here, range(3), here, name="where")
    assert pids != os.getpid()
    mapped, reduced = of_name(grid, "where")
    assert (mapped.name, mapped.progress().total) == ("where: map", 3)
    assert (reduced.name, reduced.progress().total) == ("where: reduce 1", 1)


def test_groups_are_reduced_until_one_is_left(grid: Grid) -> None:
    assert grid.map_reduce(letter, range(5), joined, group_size=2, name="tree") == "(((ab)(cd))((e)))"
    assert [session.progress().total for session in of_name(grid, "tree")] == [5, 3, 2, 1]


def test_groups_of_many(grid: Grid) -> None:
    assert grid.map_reduce(abs, range(1001), sum, group_size=10) == 500500


@pytest.mark.parametrize("group_size", [None, 2, 7])
def test_nothing_and_one(grid: Grid, group_size: int | None) -> None:
    assert grid.map_reduce(abs, [], sum, group_size=group_size) == 0
    assert grid.map_reduce(abs, [-3], sum, group_size=group_size) == 3


def test_named_handlers(grid: Grid) -> None:
    name = f"{__name__}.handler"
    assert grid.map_reduce(name, range(4), name) == 60


def test_a_failure_of_the_map_is_raised_before_anything_is_reduced(grid: Grid) -> None:
    with pytest.raises(SessionFailed, match="1 is odd"):
        grid.map_reduce(only_even, range(4), sum, name="odd", retry=ONCE)
    assert [session.name for session in of_name(grid, "odd")] == ["odd: map"]


def test_a_failure_of_the_reduce_is_raised(grid: Grid) -> None:
    with pytest.raises(SessionFailed, match="unsupported operand"):
        grid.map_reduce(letter, range(2), sum, retry=ONCE)


def test_tolerated_failures_are_raised_or_skipped(grid: Grid) -> None:
    def reduced(**how: Any) -> Any:
        return grid.map_reduce(only_even, range(5), sum, retry=ONCE, max_failures=2, **how)

    with pytest.raises(TaskFailed, match="1 is odd"):
        reduced()
    assert reduced(errors="skip") == 6
    with pytest.raises(SessionFailed):
        grid.map_reduce(only_even, range(9), sum, retry=ONCE, max_failures=2, errors="skip")


def test_the_same_token_comes_back_to_what_is_there(grid: Grid, tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    def noted(number: int) -> int:
        with open(runs, "a") as log:
            log.write(json.dumps(number) + "\n")
        return number

    assert [grid.map_reduce(noted, range(3), sum, token="once") for _ in range(2)] == [3, 3]
    assert len(runs.read_text().splitlines()) == 3


def test_an_interrupted_caller_leaves_nothing_behind(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Session, **_: Any) -> None:
        raise KeyboardInterrupt

    wait = Session.wait
    monkeypatch.setattr(Session, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        grid.map_reduce(time.sleep, itertools.repeat(3600, 3), sum, name="interrupted")
    (session,) = of_name(grid, "interrupted")
    assert wait(session, timeout=60).state is SessionState.CANCELLED


def test_groups_of_one_are_refused(grid: Grid) -> None:
    with pytest.raises(InvalidInput, match="group_size is 2 or more"):
        grid.map_reduce(abs, [1], sum, group_size=1)
