"""A server that is not trusted with pickles, and answers with another codec in each row, has nothing loaded here."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

import htcgrid_core
from htcgrid_core.client.map import map_results
from htcgrid_core.codecs.outcomes import Outcome, encode_error
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.codecs.wire import END, EVENTS, framed, framed_ordered, framed_page, packed_events, row_of
from htcgrid_core.domain.errors import CorruptPayload, GridError, InvalidInput
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import Codec, Counters, SessionRecord, SessionSpec
from tests.unit.test_http_transport import Answer, Played, play, say

__all__ = ["play"]

SESSION_ID = "s-0123456789abcdef"
loaded: list[str] = []


def _note() -> ValueError:
    loaded.append("a pickle")
    return ValueError("loaded")


class Marker:
    """Notes that it was loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _note, ()


MARKER = pickle.dumps(Marker())
FAILURE = encode_error(TaskError("ValueError", "no", ""), MARKER)


@pytest.fixture(autouse=True)
def _nothing_is_loaded() -> Iterator[None]:
    loaded.clear()
    yield
    assert loaded == []


def row(codec: Codec, state: SessionState, spec: str = "") -> bytes:
    """A session's, of two tasks."""
    told = SessionSpec.model_validate({"function": {"name": "any.handler"}, "codec": codec})
    counters = Counters(total=2, completed=2)
    ended_at = None if state is SessionState.RUNNING else 2.0
    record = SessionRecord(
        SESSION_ID, state, "", "", counters, 1.0, 1.0 + (ended_at or 0), ended_at=ended_at, tolerated=2, bundles=1
    )
    return orjson.dumps({**row_of(record), "spec": spec or told.model_dump_json()})


def answers(first: bytes, later: bytes) -> Answer:
    """The first row, and then always the later one, with a pickle wherever a value could be."""
    found = [Outcome(0, False, 1, 0.0, 0.0, MARKER, "", ""), Outcome(1, True, 1, 0.0, 0.0, FAILURE, "", "")]
    page = framed_page(TaskPage(1, "an agent", found)) + framed(END, b"")
    frames = framed_ordered(iter([(0, found[0]), (1, found[1])]), rows_a_frame=1)
    ordered = b"".join(frame for frame, _ in frames) + framed(END, b"")
    streams = {"outcomes": page, "tasks": page, "0": page, "1": page, "results": ordered}
    streams["events"] = framed(EVENTS, packed_events([MARKER, MARKER])) + framed(END, b"")
    grid = {"pools": ["default"], "agents": "always", "same_machine": False, "tenant": ""}
    rows_asked = 0

    def answer(to: BaseHTTPRequestHandler, _: int) -> None:
        nonlocal rows_asked
        what = urlsplit(to.path).path.rpartition("/")[2]
        if what == "grid":
            say(to, 200, orjson.dumps(grid))
        elif what == "agents":
            say(to, 200, b'{"agents": []}')
        elif what == "wait":
            say(to, 200, b'{"rows": [%b], "news": 1, "done": true}' % later)
        elif what in streams:
            say(to, 200, streams[what])
        else:
            rows_asked += 1
            say(to, 200, first if rows_asked == 1 else later)

    return answer


RUNNING, COMPLETED = SessionState.RUNNING, SessionState.COMPLETED
READ: dict[str, Callable[[htcgrid_core.Session], Any]] = {
    "results": lambda session: list(session.results(errors="return")),
    "as_completed": lambda session: list(session.as_completed()),
    "pages": lambda session: [session.wait(), list(session.pages())],
    "tasks": lambda session: list(session.tasks()),
    "failed tasks": lambda session: list(session.tasks("FAILED")),
    "task": lambda session: session.task(0),
    "failed task": lambda session: session.task(1),
    "events": lambda session: list(session.events()),
    "map": lambda session: list(map_results(session, None)),
    "after a wait": lambda session: [session.wait(), session.task(0)],
    "after a cancel": lambda session: [session.cancel(), session.task(0)],
    "after an adoption": lambda session: [session.adopt("me"), session.task(0)],
}


@pytest.mark.parametrize("read", READ.values(), ids=READ)
def test_a_later_row_does_not_change_what_is_loaded(
    play: Callable[[Answer], Played], read: Callable[[htcgrid_core.Session], Any]
) -> None:
    played = play(answers(row("pickle", RUNNING), row("json", COMPLETED)))
    with htcgrid_core.connect(played.address.url, api_token="secret") as grid:
        session = grid.session(SESSION_ID)
        assert session.spec.codec == "pickle"
        with pytest.raises(InvalidInput, match="allow_pickle=True"):
            read(session)


def test_a_failure_is_told_without_its_pickle(play: Callable[[Answer], Played]) -> None:
    failed = row("json", SessionState.FAILED)
    played = play(answers(row("pickle", RUNNING), failed))
    with htcgrid_core.connect(played.address.url, api_token="secret") as grid:
        session = grid.session(SESSION_ID)
        session.wait()
        with pytest.raises(GridError):
            session.raise_for_state()


def test_nor_in_an_event_loop(play: Callable[[Answer], Played]) -> None:
    async def read(what: str) -> None:
        played = play(answers(row("pickle", RUNNING), row("json", COMPLETED)))
        async with htcgrid_core.connect_async(played.address.url, api_token="secret") as grid:
            session = await grid.session(SESSION_ID)
            if what == "task":
                await session.wait()
                await session.task(0)
            else:
                async for _ in getattr(session, what)():
                    pass

    for what in ("results", "as_completed", "tasks", "task"):
        with pytest.raises(InvalidInput, match="allow_pickle=True"):
            asyncio.run(read(what))


def test_a_row_that_names_two_codecs(play: Callable[[Answer], Played]) -> None:
    """Whichever of the two a parser takes, one codec decides and decodes."""
    plain = orjson.loads(row("json", COMPLETED))["spec"]
    for one, other in (("json", "pickle"), ("pickle", "json")):
        spec = plain.replace('"codec":"json"', f'"codec":"{one}","codec":"{other}"')
        played = play(answers(row("json", COMPLETED, spec), row("json", COMPLETED, spec)))
        with htcgrid_core.connect(played.address.url, api_token="secret") as grid:
            session = grid.session(SESSION_ID)
            with pytest.raises((InvalidInput, CorruptPayload, ValueError)):
                list(session.results(errors="return"))
