"""Submitting: what may be given, what a handler is told, what is refused before anything is written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import (
    FunctionNotFound,
    Grid,
    InvalidEvent,
    InvalidInput,
    RetryPolicy,
    SessionConflict,
    UnknownGrid,
    connect,
)
from tests.e2e import handlers
from tests.e2e.support import directory_of, ended, fresh_grid


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """One grid for this module."""
    with fresh_grid(tmp_path_factory.mktemp("grid")) as url, connect(url) as connected:
        yield connected


@pytest.fixture
def untouched(grid: Grid) -> Iterator[None]:
    """Nothing was written by the test: no session, no blob."""

    def written() -> list[object]:
        blobs = directory_of(grid.url).blobs.rglob("*")
        return [*(session.id for session in grid.sessions(limit=10_000)), *sorted(blobs)]

    before = written()
    yield
    assert written() == before


class Pricer:
    """A callable object."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, event: float) -> float:
        """Price."""
        return self.factor * event

    def method(self, event: float) -> float:
        """Price as a method."""
        return self.factor + event


def test_a_named_handler_gets_event_and_context(grid: Grid) -> None:
    session = grid.submit(
        "tests.e2e.handlers.describe", ["a", {"b": [1, None, True]}], task_timeout=60, memory_mb=512,
        labels={"desk": "rates"},
    )  # fmt: skip
    first, second = session.results()
    assert first.pop("remaining_ms") in range(1, 60_001)
    assert first == {
        "event": "a",
        "session_id": session.id,
        "task_index": 0,
        "attempt": 1,
        "labels": {"desk": "rates"},
        "function_name": "tests.e2e.handlers.describe",
        "function_version": "$LATEST",
        "memory_limit_in_mb": 512,
        "aws_request_id": f"{session.id}/0/1",
    }
    assert second["event"] == {"b": [1, None, True]}
    assert second["task_index"] == 1


def test_without_limits_the_context_says_so(grid: Grid) -> None:
    (told,) = grid.submit("tests.e2e.handlers.describe", [None]).results()
    assert told["remaining_ms"] == 2**31 - 1
    assert told["memory_limit_in_mb"] is None


def closure(offset: int) -> Callable[[int], int]:
    """A function over a variable of its own."""
    return lambda event: event + offset


@pytest.mark.parametrize(
    ("function", "events", "expected"),
    [
        (handlers.square, [1, 2, 3], [1, 4, 9]),
        (handlers.double, [1, 2, 3], [2, 4, 6]),
        (lambda event: event * 10, [1, 2], [10, 20]),
        (closure(5), [1, 2], [6, 7]),
        (Pricer(2.0), [1.0], [2.0]),
        (Pricer(2.0).method, [1.0], [3.0]),
        (len, [[1, 2], "abc"], [2, 3]),
        (str.upper, ["a"], ["A"]),
        (complex, [(1)], [1 + 0j]),
    ],
    ids=["function", "handler", "lambda", "closure", "object", "method", "builtin", "unbound method", "class"],
)
def test_any_callable_may_be_given(
    grid: Grid, function: Callable[..., Any], events: list[Any], expected: list[Any]
) -> None:
    assert list(grid.submit(function, events).results()) == expected


def test_callables_take_and_return_any_object(grid: Grid) -> None:
    events = [{1, 2}, b"bytes", Path("a"), Pricer(1.5), float("nan"), (1, "x"), None, 2**100]
    results = list(grid.submit(handlers.echo, events).results())
    assert results[:3] == events[:3]
    assert results[3].factor == 1.5
    assert results[4] != results[4]
    assert results[5:] == events[5:]


def test_json_is_what_a_named_handler_takes_and_returns(grid: Grid) -> None:
    events: list[Any] = [{"a": [1, 2.5, "é \N{GRINNING FACE}", None, True]}, [], "", 0, 2**70, "\ud800", (1, 2)]
    results = list(grid.submit("tests.e2e.handlers.echo", events).results())
    assert results == [*events[:-1], [1, 2]]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 511, 512, 513, 3000])
def test_every_size_of_vector(grid: Grid, size: int) -> None:
    session = grid.submit("tests.e2e.handlers.double", range(size))
    assert list(session.results()) == [2 * n for n in range(size)]
    progress = session.progress()
    assert (progress.total, progress.completed, progress.pending) == (size, size, 0)


def test_an_empty_vector_is_complete_as_it_is_submitted(grid: Grid) -> None:
    vectors: list[Iterable[int]] = [[], iter(())]
    for empty in vectors:
        session = grid.submit("tests.e2e.handlers.double", empty)
        assert session.done()
        assert session.progress().state == "COMPLETED"
        assert list(session.results()) == []
        assert list(session.as_completed()) == []
        assert list(session.tasks()) == []


def test_events_are_streamed_from_a_generator(grid: Grid) -> None:
    """A vector of unknown length, larger than what is held, is written while it is made."""
    written: list[int] = []
    made_before_first_write: list[int] = []

    def vector() -> Iterator[handlers.Event]:
        for n in range(150):
            if not written:
                made_before_first_write.append(n)
            yield {"n": n, "padding": "x" * 100_000}

    session = grid.submit("tests.e2e.handlers.misbehave", vector(), on_progress=written.append)
    assert list(session.results()) == list(range(150))
    assert written[-1] == 150
    assert len(written) > 1
    assert len(made_before_first_write) < 150


def test_a_generator_that_raises_first_writes_nothing(grid: Grid, untouched: None) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the file of trades ends here")

    with pytest.raises(OSError, match="the file of trades"):
        grid.submit("tests.e2e.handlers.double", broken())


@pytest.mark.parametrize("token", [None, "a broken generator"])
def test_a_generator_that_raises_late_leaves_no_live_session(grid: Grid, token: str | None) -> None:
    """Without a token the session is aborted; with one, the same token carries on with it."""

    def events(good: bool) -> Iterator[handlers.Event]:
        for n in range(100):
            if n == 80 and not good:
                raise OSError("the file of trades ends here")
            yield {"n": n, "padding": "x" * 100_000}

    known = {session.id for session in grid.sessions()}
    with pytest.raises(OSError, match="the file of trades"):
        grid.submit("tests.e2e.handlers.misbehave", events(good=False), token=token)
    (begun,) = [session for session in grid.sessions() if session.id not in known]
    if token is None:
        assert begun.progress().state == "CANCELLED"
        assert "the file of trades" in begun.progress().reason
    else:
        assert begun.progress().state == "SUBMITTED"
        again = grid.submit("tests.e2e.handlers.misbehave", events(good=True), token=token)
        assert again.id == begun.id
        assert list(again.results()) == list(range(100))


def test_an_event_that_is_not_json_is_named(grid: Grid, untouched: None) -> None:
    with pytest.raises(InvalidEvent, match="event 3 cannot be submitted: it is not JSON") as caught:
        grid.submit("tests.e2e.handlers.double", [0, 1, 2, {1, 2}, 4])
    assert caught.value.index == 3


def test_an_event_that_cannot_be_pickled_is_named(grid: Grid) -> None:
    with pytest.raises(InvalidEvent, match="event 1 cannot be submitted: it cannot be pickled"):
        grid.submit(handlers.square, [1.0, (n for n in range(3))])
    assert not [session for session in grid.sessions() if not session.done()]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("tests.e2e.handlers.nothing", "no function 'nothing'"),
        ("tests.e2e.nowhere.handler", "no module|cannot be found"),
        ("nowhere.at.all.handler", "no module|cannot be found"),
        ("handler", "a function of a module is written module.handler"),
        ("tests.e2e.handlers.", "write it as module.handler"),
        ("tests/e2e/handlers.py", "is a file: name a function in it, as in handlers.handler"),
        ("tests.e2e.handlers.MISBEHAVIOURS", "no function"),
        ("", "write it as module.handler"),
    ],
)
def test_an_unknown_function_is_refused(grid: Grid, untouched: None, function: str, message: str) -> None:
    with pytest.raises(FunctionNotFound, match=message):
        grid.submit(function, [1])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"timeout": -1}, "timeout"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"task_timeout": -0.5}, "task_timeout"),
        ({"task_timeout": float("inf")}, "task_timeout"),
        ({"max_failures": -1}, "max_failures"),
        ({"max_failures": 1.5}, "max_failures"),
        ({"max_failures": True}, "max_failures"),
        ({"memory_mb": 1}, "memory_mb"),
        ({"priority": "urgent"}, "priority"),
        ({"pool": "Not A Pool"}, "pool"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {"desk": 7}}, "labels"),
        ({"bundle_size": 0}, "bundle_size"),
        ({"name": "x" * 300}, "name"),
        ({"token": ""}, "token"),
        ({"token": "x" * 2000}, "token"),
        ({"codec": "pickle"}, "pickle"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(map(str, value))[:40],
)
@pytest.mark.parametrize("function", ["tests.e2e.handlers.double", closure(1)], ids=["name", "callable"])
def test_a_bad_option_is_named_and_nothing_is_written(
    grid: Grid, untouched: None, function: Any, options: dict[str, Any], named: str
) -> None:
    if options == {"codec": "pickle"} and callable(function):
        pytest.skip("a callable is pickled")
    with pytest.raises(InvalidInput, match=named):
        grid.submit(function, [1], **options)


def test_what_is_no_function_is_refused(grid: Grid, untouched: None) -> None:
    with pytest.raises(InvalidInput, match="a name or a callable, not a int"):
        grid.submit(7, [1])  # type: ignore[arg-type]  # that is the test


def test_a_bad_retry_policy_is_refused() -> None:
    for bad in (
        {"max_attempts": 0},
        {"backoff_base_seconds": -1},
        {"backoff_base_seconds": 9, "backoff_cap_seconds": 1},
    ):
        with pytest.raises(ValueError, match="validation error"):
            RetryPolicy(**bad)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "not a grid's URL"),
        ("ftp://somewhere", "not a grid's URL"),
        ("local://folder", "three slashes"),
        ("local:///tmp/x?agents=0", "agents"),
        ("local:///tmp/x?slots=many", "slots"),
        ("local:///tmp/x?idle=-1", "idle"),
        ("local:///tmp/x?colour=red", "colour"),
        ("local:///tmp/x#part", "three slashes"),
    ],
)
def test_an_unknown_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(UnknownGrid, match=message):
        connect(url)


def test_the_url_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTCGRID_URL", f"local://{tmp_path}/from-url")
    assert connect().url == f"local://{tmp_path}/from-url"
    monkeypatch.delenv("HTCGRID_URL")
    monkeypatch.setenv("HTCGRID_HOME", str(tmp_path / "from-home"))
    with connect() as home:
        assert home.url == "local://"
        assert (tmp_path / "from-home" / "grid.db").exists()


def test_the_same_token_and_body_is_the_same_session(grid: Grid) -> None:
    first = grid.submit("tests.e2e.handlers.double", range(10), token="book-1", name="book")
    ended(first)
    for events in (range(10), list(range(10)), iter(range(10))):
        again = grid.submit("tests.e2e.handlers.double", events, token="book-1", name="book")
        assert again.id == first.id
    assert list(again.results()) == [2 * n for n in range(10)]
    assert [entry.event for entry in first.history()].count("submit") == 1


@pytest.mark.parametrize(
    "other",
    [
        {"events": range(1, 11)},
        {"events": range(11)},
        {"events": range(9)},
        {"function": "tests.e2e.handlers.echo"},
        {"task_timeout": 5.0},
        {"max_failures": 1},
        {"retry": RetryPolicy(max_attempts=7)},
        {"labels": {"desk": "rates"}},
    ],
    ids=lambda other: str(other)[:30],
)
def test_the_same_token_with_another_body_is_a_conflict(grid: Grid, other: dict[str, Any]) -> None:
    body = {"function": "tests.e2e.handlers.double", "events": range(10), "token": "book-2"}
    first = grid.submit(**body)  # type: ignore[arg-type]  # a dict of all kinds
    with pytest.raises(SessionConflict, match="another body"):
        grid.submit(**{**body, **other})
    assert grid.submit(**body).id == first.id  # type: ignore[arg-type]


def test_a_token_holds_however_the_session_ended(grid: Grid) -> None:
    body: dict[str, Any] = {"function": "tests.e2e.handlers.fail_odd", "events": [1], "token": "fails"}
    body["retry"] = RetryPolicy(max_attempts=1)
    first = grid.submit(**body)
    assert ended(first).state == "FAILED"
    assert grid.submit(**body).id == first.id


def test_without_a_token_every_submit_is_another_session(grid: Grid) -> None:
    ids = {grid.submit("tests.e2e.handlers.double", [1]).id for _ in range(3)}
    assert len(ids) == 3


def test_a_callable_with_a_token_is_the_same_session(grid: Grid) -> None:
    first, again = (grid.submit(handlers.square, [1, 2], token="callable") for _ in range(2))
    assert first.id == again.id
    with pytest.raises(SessionConflict):
        grid.submit(closure(3), [1, 2], token="callable")


def test_shared_inputs_of_every_kind(grid: Grid) -> None:
    curve = [0.5] * 1000
    market = grid.put({"curve": curve})
    events = [{"market": market, "n": n} for n in range(20)]
    assert list(grid.submit("tests.e2e.handlers.total", events).results()) == [500.0 * n for n in range(20)]
    assert list(grid.submit(handlers.total, events).results()) == [500.0 * n for n in range(20)]


@pytest.mark.parametrize(
    ("value", "codec", "expected"),
    [
        (b"\x00\xff" * 50_000, None, [100_000, "bytes"]),
        ([1, 2, 3], None, [3, "list"]),
        ({"a": 1}, "json", [1, "dict"]),
        ((1, 2), "pickle", [2, "tuple"]),
        ({1, 2, 3}, "pickle", [3, "set"]),
        ("text", None, [4, "str"]),
    ],
)
@pytest.mark.parametrize("function", ["tests.e2e.handlers.size_of", handlers.size_of], ids=["name", "callable"])
def test_a_shared_input_arrives_whole(grid: Grid, function: Any, value: Any, codec: Any, expected: list[Any]) -> None:
    shared = grid.put(value, codec=codec)
    nested = [[shared, {"deep": [shared]}]] * 4
    if function == "tests.e2e.handlers.size_of" and isinstance(value, bytes):
        nested = [[shared]] * 4
    assert list(grid.submit(function, nested).results()) == [expected] * 4


def test_the_same_shared_input_is_stored_once(grid: Grid) -> None:
    assert grid.put([1, 2, 3]) == grid.put([1, 2, 3])
    assert grid.put([1, 2, 3]) != grid.put([1, 2, 4])


def test_an_input_that_cannot_be_stored_is_refused(grid: Grid) -> None:
    with pytest.raises(InvalidInput, match="cannot be stored as json"):
        grid.put({1, 2}, codec="json")
    with pytest.raises(InvalidInput, match="cannot be stored as pickle"):
        grid.put((n for n in range(3)), codec="pickle")


def test_large_events_and_results_go_their_own_way(grid: Grid) -> None:
    """Larger than what a row holds."""
    events = ["x" * (5 << 20), "y", "z" * (6 << 20)]
    assert list(grid.submit("tests.e2e.handlers.echo", events).results()) == events


def test_an_infinite_vector_can_be_cut(grid: Grid) -> None:
    session = grid.submit("tests.e2e.handlers.double", itertools.islice(itertools.count(), 700))
    assert list(session.results()) == [2 * n for n in range(700)]
