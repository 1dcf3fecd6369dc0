"""The REST API as a Lambda function: what is large comes and goes in pages, within AWS's limits, for every client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from htcgrid_core import Grid, InvalidInput, connect, connect_async
from htcgrid_core.api.auth.keys import write_keys
from htcgrid_core.domain.errors import ResultTooLarge
from tests.api_gateway import Function, api_gateway
from tests.e2e.support import GUARD_SECONDS, fresh_grid
from tests.rest import Rest
from tests.served import key

ECHO = "tests.e2e.handlers.echo"
COUNT, LONG = 14, "x" * 400_000  # 5.6 MB of events, and as much of results


@dataclass
class Behind:
    """A grid behind API Gateway and its function."""

    grid: Grid
    url: str
    token: str
    function: Function

    @property
    def rest(self) -> Rest:
        """Its API, as it is."""
        return Rest(self.url, self.token)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("lambda")
    who = key("desk")
    write_keys(folder / "keys.json", [who])
    with fresh_grid(folder / "grid") as grid_url:
        given = {"HTCGRID_URL": grid_url, "HTCGRID_KEY_FILE": str(folder / "keys.json")}
        with (
            api_gateway("tests.rest_function", given) as (url, function),
            connect(url, api_token=who.secret) as grid,
        ):
            yield Behind(grid, url, who.secret, function)


@pytest.fixture(scope="module")
def large(behind: Behind) -> str:
    """A session that no single request or answer could hold."""
    session = behind.grid.submit(ECHO, (LONG for _ in range(COUNT)))
    session.wait(GUARD_SECONDS)
    assert 4_000_000 < behind.function.largest[0] < 6_000_000, "it was sent in parts"
    return session.id


def test_the_client_reads_it_all(behind: Behind, large: str) -> None:
    session = behind.grid.session(large)
    assert list(session.results()) == [LONG] * COUNT
    assert sorted(one.index for one in session.as_completed()) == list(range(COUNT))
    assert sorted(one.index for one in session.tasks()) == list(range(COUNT))
    assert 4_000_000 < behind.function.largest[1] < 6_000_000, "it came in pages"


def test_so_does_the_one_for_event_loops(behind: Behind, large: str) -> None:
    async def steps() -> None:
        async with asyncio.timeout(GUARD_SECONDS), connect_async(behind.url, api_token=behind.token) as grid:
            session = await grid.session(large)
            assert [result async for result in session.results()] == [LONG] * COUNT
            assert sorted([one.index async for one in session.as_completed()]) == list(range(COUNT))
            assert sorted([one.index async for one in session.tasks()]) == list(range(COUNT))

    asyncio.run(steps())


@pytest.mark.parametrize("limit", [{}, {"limit": "1"}])
@pytest.mark.parametrize(("what", "begin"), [("results", "start"), ("outcomes", "cursor"), ("tasks", "cursor")])
def test_pages_of_lines(behind: Behind, large: str, what: str, begin: str, limit: dict[str, str]) -> None:
    """Each but the last says where the next begins."""
    seen, pages, query = list[int](), 0, dict(limit)
    while True:
        page = behind.rest.get(f"/v1/sessions/{large}/{what}", **query)
        assert page.status == 200
        assert len(page.body) < 5_000_000
        seen += [line["index"] for line in page.lines]
        pages += 1
        if "htcgrid-next" not in page.headers:
            break
        query = {**limit, begin: page.headers["htcgrid-next"]}
    assert sorted(seen) == list(range(COUNT))
    assert pages > 2 if limit else pages == 2
    assert what != "results" or seen == sorted(seen)


def test_events_come_in_pages_too(behind: Behind, large: str) -> None:
    first = behind.rest.get(f"/v1/sessions/{large}/events")
    second = behind.rest.get(f"/v1/sessions/{large}/events", start=first.headers["htcgrid-next"])
    assert 0 < len(second.lines) <= len(first.lines)
    assert len(first.lines) + len(second.lines) == COUNT


def test_what_is_too_large_is_told(behind: Behind) -> None:
    """By the server, which says how much it takes; and by the client, before it sends anything."""
    assert behind.rest.get("/v1/grid").json["request_bytes"] == 4_500_000
    with pytest.raises(InvalidInput, match=r"takes requests of up to 4,500,000 bytes"):
        behind.grid.put(b"x" * 5_000_000)
    with pytest.raises(InvalidInput, match="event 1 cannot be submitted: it has 5,000,002 bytes; 4,200,000 at most"):
        behind.grid.submit(ECHO, ["", "x" * 5_000_000])
    taken = behind.rest.post("/v1/shared", b"x" * 4_499_999, media="application/octet-stream")
    assert taken.status == 201
    assert behind.rest.post("/v1/shared", b"x" * 5_000_000, media="application/octet-stream").status == 413


def test_a_result_that_no_answer_holds(behind: Behind) -> None:
    """What comes before it is read; it is there for whoever reads the grid itself."""
    session = behind.grid.submit("tests.e2e.handlers.repeat", [1, 5_000_000, 1])
    session.wait(GUARD_SECONDS)
    found = iter(session.results())
    assert next(found) == "x"
    with pytest.raises(ResultTooLarge, match="an answer here at most 4,000,000"):
        next(found)
    task = behind.rest.get(f"/v1/sessions/{session.id}/tasks/1")
    assert (task.status, task.json["code"]) == (413, "result-too-large")
    assert behind.rest.get(f"/v1/sessions/{session.id}/results", start=2).lines[0]["result"] == "x"


def test_a_watch_ends_with_each_event(behind: Behind, large: str) -> None:
    """Clients of server-sent events come again by themselves, with the id of the last."""
    first = behind.rest.get(f"/v1/sessions/{large}/watch")
    assert first.headers["content-type"].startswith("text/event-stream")
    retry, event, *_ = first.body.decode().split("\n\n")
    assert (retry, event.splitlines()[0]) == ("retry: 100", "event: end")


def test_events_that_are_no_requests_of_its_format(behind: Behind) -> None:
    """Those of a REST API are refused; one of a schedule is what becomes of uploads whose client has gone."""
    assert behind.function({"requestContext": {"stage": "prod"}, "httpMethod": "GET"})["statusCode"] == 400
    assert behind.function({}) == {"uploads": 0, "submitted": 0}
