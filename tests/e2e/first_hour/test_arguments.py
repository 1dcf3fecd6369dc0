"""What people write first: ``retry=1``, a data frame, a function of two arguments: done as meant, or refused."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from htcgrid_core import FunctionNotFound, Grid, InvalidInput, RetryPolicy, connect
from htcgrid_core.domain.retry import MOST_ATTEMPTS
from tests.e2e.command_line import CommandLine
from tests.e2e.support import fresh_grid


@pytest.fixture
def unused(tmp_path: Path) -> Iterator[Grid]:
    """A grid in which nothing may have been written after the test: no session, no function."""
    with connect(f"local://{tmp_path}/grid") as grid:
        yield grid
        assert grid.sessions() == []
    assert os.listdir(tmp_path / "grid" / "blobs") == []


def one(event: Any) -> Any:
    return event


def two(first: Any, second: Any) -> Any:
    return first, second


# retry


def always_fails(event: object) -> None:
    raise ValueError(f"no {event}")


@pytest.mark.parametrize(("retry", "attempts"), [(0, 1), (1, 1), (2, 2), (None, 3), (RetryPolicy(max_attempts=2), 2)])
def test_a_number_is_how_many_attempts_a_task_has(grid: Grid, retry: int | RetryPolicy | None, attempts: int) -> None:
    assert grid.submit(abs, [1], retry=retry).spec.retry.max_attempts == attempts


def test_one_attempt_is_one(grid: Grid) -> None:
    session = grid.submit(always_fails, [1], retry=0)
    session.wait()
    assert [task.attempts for task in session.tasks()] == [1]


def test_so_in_a_map_and_an_executor_where_there_is_one_without(grid: Grid) -> None:
    for options, attempts in (({}, 1), ({"retry": 0}, 1), ({"retry": 2}, 2), ({"retry": None}, 1)):
        assert list(grid.map(abs, [-1], **options)) == [1]
        assert grid.sessions(limit=1)[0].spec.retry.max_attempts == attempts
        with grid.executor(**options) as pool:
            assert pool.submit(abs, -1).result() == 1
        assert grid.sessions(limit=1)[0].spec.retry.max_attempts == attempts


@pytest.mark.parametrize("retry", [-1, True, False, 1.5, "3", MOST_ATTEMPTS + 1, {"max_attempts": 2}])
def test_what_is_no_number_of_attempts_is_refused(unused: Grid, retry: Any) -> None:
    for submit in (
        lambda: unused.submit(abs, [1], retry=retry),
        lambda: unused.map(abs, [1], retry=retry),
        lambda: unused.executor(retry=retry),
    ):
        with pytest.raises(InvalidInput, match="how many attempts"):
            submit()


# Vectors


class ArrowTable:
    """What pyarrow's tables have."""

    column_names = ("notional",)

    def to_pylist(self) -> list[dict[str, float]]:
        return [{"notional": 1.0}]


class PolarsFrame:
    """What polars' frames have."""

    columns = ("notional",)

    def to_dicts(self) -> list[dict[str, float]]:
        return [{"notional": 1.0}]


FRAME = pd.DataFrame({"notional": [1.0, 2.0], "years": [1, 2]})


@pytest.mark.parametrize(
    ("events", "instead"),
    [
        (FRAME, 'events.to_dict("records")'),
        (ArrowTable(), "events.to_pylist()"),
        (PolarsFrame(), "events.to_dicts()"),
        ({"a": 1}, "list(events.values())"),
        ("book.jsonl", "events_in(FILE)"),
        (b"bytes", "[event]"),
        (Path("book.jsonl"), "events_in(FILE)"),
        (5, "range(5)"),
        (5.0, "[event]"),
        (None, "[event]"),
        (range, "events_in|call it"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_value_is_no_vector(unused: Grid, events: Any, instead: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        unused.submit(one, events)
    assert any(each in str(refused.value) for each in instead.split("|"))
    with pytest.raises(InvalidInput):
        unused.map_reduce(one, events, sum)


def test_a_table_is_none_for_map_either(unused: Grid) -> None:
    with pytest.raises(InvalidInput, match="columns"):
        unused.map(one, FRAME)
    with pytest.raises(InvalidInput, match="columns"):
        unused.executor().map(one, FRAME)


def test_a_number_is_no_vector_for_map_either(unused: Grid) -> None:
    with pytest.raises(InvalidInput, match=r"write range\(5\)"):
        unused.map(one, 5)  # type: ignore[arg-type]


def test_what_the_message_says_to_write_works(grid: Grid) -> None:
    rows = list(grid.submit(one, FRAME.to_dict("records")).results())
    assert rows == [{"notional": 1.0, "years": 1}, {"notional": 2.0, "years": 2}]
    assert list(grid.submit(one, FRAME["years"]).results()) == [1, 2]
    assert list(grid.submit(one, range(3)).results()) == [0, 1, 2]
    assert list(grid.map(one, "ab")) == ["a", "b"]  # as the built-in does


# Functions


def handler_of_three(event: Any, context: Any, more: Any) -> Any:
    return event, context, more


def wrapped() -> Callable[..., Any]:
    @functools.wraps(two)
    def wrapper(*args: Any) -> Any:
        return two(args[0], 1)

    return wrapper


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (
            two,
            r"two\(first, second\) cannot be called as two\(event\): missing a required argument: 'second'; .*grid.map",
        ),
        (lambda: 1, r"<lambda>\(\) cannot be called as <lambda>\(event\): too many positional arguments"),
        (functools.partial(two, 1, 2), "too many positional"),
        (handler_of_three, r"\(event, context\), as handlers are: missing .*'more'"),
    ],
)
def test_a_function_that_takes_no_event_is_refused(unused: Grid, function: Callable[..., Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        unused.submit(function, [1])


def test_so_is_the_first_call_of_a_map(unused: Grid) -> None:
    with pytest.raises(InvalidInput, match=r"one\(event\) cannot be called as one\(\.\.\., \.\.\.\): too many"):
        unused.map(one, [1], [2])
    with pytest.raises(InvalidInput, match="missing a required argument"):
        unused.map(two, [1])


def test_what_takes_an_event_in_its_own_way_is_taken(grid: Grid) -> None:
    assert list(grid.submit(wrapped(), [1]).results()) == [(1, 1)]
    assert list(grid.submit(functools.partial(two, 0), [1]).results()) == [(0, 1)]
    assert list(grid.submit(int, ["1"]).results()) == [1]
    assert list(grid.submit(str.upper, ["a"]).results()) == ["A"]
    assert list(grid.map(divmod, [7], [2])) == [(3, 1)]
    assert list(grid.map(two, [])) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("pricing.py", "is a file: name a function in it, as in pricing.handler"),
        ("book/pricing.py:handler", "is a file: name a function in it, as in pricing.handler"),
        ("pricing:handler", "written module.handler"),
        ("pricing.Model.price", "pricing is a module, and Model none within it: a handler is a function"),
        ("pricing.short", r"short\(event\) in .* cannot be called as short\(event, context\)"),
        ("pricing.long", r"long\(event, context, more\) in "),
        ("json.loads", r"loads\(s.*\) cannot be called as loads\(event, context\), as handlers are"),
    ],
)
def test_a_name_that_is_no_handlers(
    unused: Grid, name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pricing.py").write_text(
        "class Model:\n    def price(self, event, context): ...\n"
        "def short(event): ...\n"
        "def long(event, context, more): ...\n"
        "def handler(event, context=None, *more, day=None): ...\n"
        "try:\n    def either(event): ...\nexcept NameError:\n    def either(event, context): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pricing", raising=False)  # to look into a package imports it
    with pytest.raises(InvalidInput, match=why):
        unused.submit(name, [1])
    with pytest.raises(FunctionNotFound):
        unused.submit("pricing.nothing", [1])


# Sessions


@pytest.mark.parametrize("called", ["", 5, None])
def test_a_session_is_named_to_be_found(grid: Grid, called: Any) -> None:
    """An empty text is a shell's variable that is not set, and means no session without a name."""
    session = grid.submit(abs, [-1])
    with pytest.raises(InvalidInput, match="name a session by its id"):
        grid.session(called)
    assert session.wait()


def test_cancel_of_nothing_cancels_nothing(tmp_path: Path) -> None:
    with fresh_grid(tmp_path / "grid", slots=1) as url, connect(url) as grid:
        session = grid.submit(time.sleep, [60])
        shell = CommandLine.in_folder(tmp_path / "work", url)
        try:
            assert "name a session by its id" in shell.call("cancel", "").err
            assert not session.progress().ended
        finally:
            session.cancel()
