"""The client over HTTP beside what all gateways do: tokens, pickles, uploads, and servers that die under it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import pickle
import random
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import (
    AccessDenied,
    Grid,
    GridUnavailable,
    InvalidInput,
    SessionConflict,
    SessionFailed,
    UnknownGrid,
    connect,
    connect_async,
)
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.domain import limits
from htcgrid_core.gateway.http import async_reader, reading
from htcgrid_core.gateway.http.address import ApiToken, parse_http
from htcgrid_core.gateway.http.asks import Ask
from htcgrid_core.gateway.http.reading import stream
from htcgrid_core.gateway.http.retries import Retries, asked_pause
from htcgrid_core.gateway.http.submitting import PART_EVENTS
from htcgrid_core.gateway.http.transport import Transport
from htcgrid_core.services.results import FEW_BYTES, FEW_TASKS
from htcgrid_core.testing.handlers import task
from tests.e2e.support import ended
from tests.served import Server, key, serving

HANDLER = f"{task.__module__}.{task.__name__}"
MANY = 2 * PART_EVENTS + 10  # in three parts


@pytest.fixture(scope="module")
def server(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of the module's grid."""
    with serving(url, tmp_path_factory.mktemp("served") / "keys.json") as running:
        yield running


@pytest.fixture
def grid(server: Server) -> Iterator[Grid]:
    """Through it."""
    with connect(server.url, api_token=server.token) as connected:
        yield connected


# Where a token goes


@pytest.mark.parametrize(
    "url",
    [
        "http://grid.example",
        "http://10.0.0.1:8080",
        "http://127.0.0.1.example",
        "https://user:word@grid.example",
        "https://token@grid.example",
        "https://grid.example/?api_token=word",
        "https://grid.example/#word",
        "https://",
        "http://127.0.0.1:port",
    ],
)
def test_urls_that_would_tell_a_token(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before one is looked for, and what could be one is not repeated."""
    monkeypatch.delenv("HTCGRID_API_TOKEN", raising=False)
    with pytest.raises(UnknownGrid) as caught:
        connect(url)
    assert "word" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://grid.example"])
def test_urls_that_would_not(url: str) -> None:
    assert parse_http(url).url == url


def test_a_token_is_shown_and_stored_nowhere(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), connect(server.url, api_token=server.token) as grid:
        session = grid.submit(HANDLER, [1])
        ended(session)
        for shown in (grid, grid.gateway, session, ApiToken(server.token), vars(grid.gateway)):
            assert server.token not in repr(shown)
        for stored in (grid, grid.gateway, ApiToken(server.token)):
            with pytest.raises(TypeError):
                pickle.dumps(stored)
    assert server.token not in caplog.text


def test_the_token_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTCGRID_API_TOKEN", raising=False)
    with pytest.raises(AccessDenied, match="HTCGRID_API_TOKEN"):
        connect(server.url)
    monkeypatch.setenv("HTCGRID_API_TOKEN", server.token)
    with connect(server.url) as grid:
        assert grid.measure()
    with pytest.raises(AccessDenied) as caught:
        connect(server.url, api_token="some-other-token")
    assert "some-other-token" not in str(caught.value)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(GridUnavailable, match=r"127\.0\.0\.1:1"):
        connect("http://127.0.0.1:1", api_token="any")


# Pickles


def text_of(event: dict[str, Path], context: object) -> str:
    """What is in a book of a library."""
    return (event["library"] / "book.txt").read_text()


def test_a_folder_is_staged(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its archive goes in one request; what is larger than that is told."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "book.txt").write_text("a book")
    staged = grid.put(tmp_path / "library")
    session = grid.submit(f"{__name__}.text_of", [{"library": staged}], codec="json")
    assert list(session.results()) == ["a book"]
    monkeypatch.setattr(limits, "SHARED_REQUEST_BYTES", 2000)
    with pytest.raises(InvalidInput, match=r"library\.tar has .* and a server takes 2,000"):
        grid.put(tmp_path / "library")


def test_pickled_results_are_not_loaded_without_the_word_for_it(grid: Grid, server: Server) -> None:
    """Failures are told all the same, as texts."""
    session = grid.submit(_boom_if_odd, [0, 1], max_failures=1)
    ended(session)
    for read in (session.results, session.tasks, session.as_completed, session.events, lambda: iter([session.task(0)])):
        with pytest.raises(InvalidInput, match="allow_pickle=True"):
            list(read())
    with pytest.raises(InvalidInput, match="allow_pickle=True"):
        grid.executor().submit(len, "abc").result()
    (failed,) = session.tasks("FAILED")
    assert failed.error is not None
    assert (failed.error.type, failed.error.exception) == ("ValueError", None)
    with connect(server.url, api_token=server.token, allow_pickle=True) as trusting:
        found = {one.index: one for one in trusting.session(session.id).tasks()}
        assert found[0].result == {0}
        assert found[1].error is not None
        assert isinstance(found[1].error.exception, ValueError)


# Results that come with the end


def _asked_for_results(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sessions whose results a client asks for from now on."""
    asked: list[str] = []

    def outcomes(transport: Transport, session_id: str, start: int) -> Iterator[tuple[int, Outcome | None]]:
        asked.append(session_id)
        return read(transport, session_id, start)

    read = reading.outcomes
    monkeypatch.setattr(reading, "outcomes", outcomes)
    return asked


def test_few_results_come_with_the_end(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: who reads them again asks."""
    asked = _asked_for_results(monkeypatch)
    session = grid.submit(HANDLER, range(FEW_TASKS))
    assert list(session.results()) == [2 * number for number in range(FEW_TASKS)]
    assert asked == []
    assert list(session.results()) == [2 * number for number in range(FEW_TASKS)]
    assert asked == [session.id]


def test_many_and_large_results_do_not(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _asked_for_results(monkeypatch)
    many = grid.submit(HANDLER, range(FEW_TASKS + 1))
    assert list(many.results()) == [2 * number for number in range(FEW_TASKS + 1)]
    noise = random.Random(1).randbytes(FEW_BYTES).hex()  # which cannot be packed into less
    large = grid.submit("tests.e2e.handlers.echo", [noise])
    assert list(large.results()) == [noise]
    assert asked == [many.id, large.id]


def test_few_results_come_with_the_end_in_a_loop_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> list[list[int]]:
        async with connect_async(server.url, api_token=server.token) as grid:
            session = await grid.submit(HANDLER, [1, 2])
            return [[one async for one in session.results()] for _ in range(2)]

    asked: list[tuple[str, ...]] = []

    def noted(*parts: str, **query: Any) -> Ask[None]:
        asked.append(parts)
        return stream(*parts, **query)

    monkeypatch.setattr(async_reader, "stream", noted)
    assert asyncio.run(steps()) == [[2, 4], [2, 4]]
    assert len(asked) == 1


def test_few_pickles_do_not_pass_either(grid: Grid) -> None:
    """Those that came with the end need the word for it, too."""
    session = grid.submit(_boom_if_odd, [2])
    with pytest.raises(InvalidInput, match="allow_pickle=True"):
        list(session.results())


def _boom_if_odd(event: int) -> set[int]:
    if event % 2:
        raise ValueError("odd")
    return {event}


def test_a_failed_session_says_why(grid: Grid) -> None:
    session = grid.submit(_boom_if_odd, [1], retry=None)
    with pytest.raises(SessionFailed, match="odd"):
        list(session.results())


# Large vectors


def test_a_large_vector_under_a_token(grid: Grid) -> None:
    """The same again is the same session; with another event it is a conflict, which changes nothing."""
    told: list[int] = []
    session = grid.submit(HANDLER, range(MANY), token="large", on_progress=told.append)
    assert told == sorted(told)
    assert (len(told), told[-1]) == (4, MANY)
    for _ in range(2):
        with pytest.raises(SessionConflict):
            grid.submit(HANDLER, itertools.chain(range(MANY - 1), [0]), token="large")
        assert grid.submit(HANDLER, range(MANY), token="large").id == session.id
    assert ended(session).completed == MANY
    assert all(result == 2 * index for index, result in enumerate(session.results()))


def test_what_the_events_raise_leaves_nothing_that_runs(grid: Grid) -> None:
    def events() -> Iterator[int]:
        yield from range(PART_EVENTS + 1)
        raise RuntimeError("the source has dried up")

    with pytest.raises(RuntimeError, match="dried up"):
        grid.submit(HANDLER, events(), token="broken")
    assert not grid.sessions("RUNNING")


# Tenants


def test_a_token_of_one_tenant_needs_no_word_of_it(url: str, tmp_path: Path) -> None:
    with (
        serving(url, tmp_path / "keys.json", keys=[key("desk", tenants="rates")]) as server,
        connect(server.url, api_token=server.token, allow_pickle=True) as grid,
    ):
        session = grid.submit(HANDLER, [1])
        assert session.id.startswith("rates.")
        assert list(session.results()) == [2]
        assert list(grid.map(len, ["abc"])) == [3]
        with pytest.raises(AccessDenied, match="other"):
            grid.submit(HANDLER, [1], tenant="other")


# Servers that die


def test_a_server_that_is_killed_is_waited_for(url: str, tmp_path: Path) -> None:
    """In the middle of an upload, of a wait and of a stream: nothing is lost, and nothing is there twice."""
    keys = tmp_path / "keys.json"
    with serving(url, keys) as first, connect(first.url, api_token=first.token) as grid:
        port = first.url.rpartition(":")[2]
        started: list[threading.Thread] = []

        def kill_and_start_anew() -> None:
            """The server dies now; another one is there in a while."""
            running[-1].kill()
            started.append(threading.Thread(target=restart))
            started[-1].start()

        def restart() -> None:
            context = serving(url, keys, "--port", port)
            running.append(context.__enter__())
            contexts.append(context)

        running = [first]
        contexts: list[AbstractContextManager[Server]] = []
        try:

            def events() -> Iterator[int]:
                for number in range(MANY):
                    if number == PART_EVENTS + 5:
                        kill_and_start_anew()
                    yield number

            session = grid.submit(HANDLER, events())
            assert session.progress().total == MANY
            held = grid.submit(HANDLER, [{"sleep": 600}])
            waiting = threading.Thread(target=held.wait)
            waiting.start()
            started[-1].join()
            kill_and_start_anew()
            assert ended(session).completed == MANY
            found: list[int] = []
            for result in session.results():
                if len(found) == 1000:
                    started[-1].join()
                    kill_and_start_anew()
                found.append(result)
            assert found == [2 * number for number in range(MANY)]
            assert waiting.is_alive()
            held.cancel("the test is over")
            waiting.join()
            assert held.progress().state == "CANCELLED"
        finally:
            for thread in started:
                thread.join()
            for context in contexts:
                context.__exit__(None, None, None)


# Retries


def test_what_a_server_asks_for_is_kept() -> None:
    assert asked_pause("7") == 7.0
    assert asked_pause("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert asked_pause("") is None
    assert asked_pause("soon") is None
    retries = Retries(bear_seconds=10.0)
    assert retries.pause_after(GridUnavailable("busy"), "3") == 3.0
    assert 0.0 < retries.pause_after(GridUnavailable("busy")) < 1.0
    with pytest.raises(GridUnavailable):
        retries.pause_after(GridUnavailable("busy"), "3600")
    with pytest.raises(InvalidInput):
        retries.pause_after(InvalidInput("no good"))
