"""What the client over HTTP makes of answers that break off, are refused for a while, or are somebody else's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.wire import END, NEXT, PROBLEM, RAW, framed, framed_ordered
from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable, InvalidInput, SessionNotFound
from htcgrid_core.gateway.http import asks, reading
from htcgrid_core.gateway.http.address import ApiToken, parse_http
from htcgrid_core.gateway.http.async_transport import AsyncTransport
from htcgrid_core.gateway.http.transport import Transport

Answer = Callable[[BaseHTTPRequestHandler, int], None]


class Played:
    """A server that answers as the test says, and remembers what it was asked for."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[tuple[str, str]] = []
        played = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                played.asked.append((self.command, self.path))
                answer(self, len(played.asked))

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - names of the standard library

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = parse_http(f"http://127.0.0.1:{self._server.server_port}")

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def play() -> Iterator[Callable[[Answer], Played]]:
    """Makes servers, which end with the test."""
    running: list[Played] = []

    def start(answer: Answer) -> Played:
        running.append(Played(answer))
        return running[-1]

    yield start
    for one in running:
        one.close()


def say(to: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """An answer, as a whole."""
    to.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        to.send_header(name.replace("_", "-"), value)
    to.end_headers()
    to.wfile.write(body)


def rows(*indexes: int) -> bytes:
    """Outcomes in index order, each on a frame of its own."""
    found = ((index, Outcome(index, False, 1, 0.0, 0.0, b"%d" % index, "", "")) for index in indexes)
    return b"".join(frame for frame, _ in framed_ordered(found, rows_a_frame=1))


def over(played: Played) -> Transport:
    """A transport to it."""
    return Transport(played.address, ApiToken("secret"))


def test_a_stream_that_breaks_off_goes_on_behind_its_last_result(play: Callable[[Answer], Played]) -> None:
    def answer(to: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            say(to, 200, rows(0, 1) + rows(2)[:-3], Content_Length="1000")
            to.close_connection = True
        else:
            say(to, 200, rows(2, 3) + framed(END, b""))

    played = play(answer)
    assert [index for index, _ in reading.outcomes(over(played), "s-abcd", 0)] == [0, 1, 2, 3]
    assert [path.rpartition("=")[2] for _, path in played.asked] == ["0", "2"]


def test_an_end_may_lead_to_a_next_page(play: Callable[[Answer], Played]) -> None:
    def answer(to: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            say(to, 200, rows(0, 1) + framed(END, b""), **{NEXT: "2"})
        else:
            say(to, 200, rows(2) + framed(END, b""))

    assert [index for index, _ in reading.outcomes(over(play(answer)), "s-abcd", 0)] == [0, 1, 2]


def test_a_problem_in_the_middle_of_a_stream_is_raised(play: Callable[[Answer], Played]) -> None:
    problem = b'{"detail": "it is damaged", "code": "corrupt-payload"}'
    played = play(lambda to, _: say(to, 200, rows(0) + framed(PROBLEM, problem)))
    found = reading.outcomes(over(played), "s-abcd", 0)
    assert next(found)[0] == 0
    with pytest.raises(CorruptPayload, match="it is damaged"):
        next(found)


@pytest.mark.parametrize("is_async", [False, True], ids=["thread", "loop"])
def test_what_passes_is_asked_again(play: Callable[[Answer], Played], is_async: bool) -> None:
    def answer(to: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            say(to, 503, b'{"detail": "stopping", "code": "stopping"}', Retry_After="0")
        elif number == 2:
            to.close_connection = True  # nothing at all
        elif number == 3:
            say(to, 502, b"<html>a proxy's</html>")
        else:
            say(to, 200, b'{"digest": "d", "codec": "json"}')

    played = play(answer)
    ask = asks.put_shared(b"1", "json", "default")
    if is_async:
        found = asyncio.run(AsyncTransport(played.address, ApiToken("secret")).ask(ask, 60.0))
    else:
        found = over(played).ask(ask, 60.0)
    assert (found.digest, len(played.asked)) == ("d", 4)


def test_what_may_have_been_done_is_not_done_again(play: Callable[[Answer], Played]) -> None:
    def answer(to: BaseHTTPRequestHandler, _: int) -> None:
        to.close_connection = True

    played = play(answer)
    with pytest.raises(GridUnavailable):
        over(played).ask(asks.remove_function("f", 1, "default"))
    assert len(played.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "raised"),
    [
        (404, b'{"detail": "no", "code": "session-not-found", "session": "s-abcd"}', SessionNotFound),
        (422, b'{"detail": "no", "code": "invalid-input"}', InvalidInput),
        (404, b"<html></html>", InvalidInput),
        (200, b"<html></html>", CorruptPayload),
        (200, b'{"unexpected": 1}', CorruptPayload),
        (302, b"", CorruptPayload),
    ],
)
def test_answers_are_what_a_server_raised(
    play: Callable[[Answer], Played], status: int, body: bytes, raised: type[Exception]
) -> None:
    """Or of somebody who is no grid's server; nobody is followed elsewhere with the token."""
    played = play(lambda to, _: say(to, status, body, Location="https://elsewhere.example/"))
    with pytest.raises(raised):
        over(played).ask(asks.session("s-abcd"))
    assert len(played.asked) == 1


def test_requests_name_the_client_and_the_form_that_it_takes() -> None:
    from htcgrid_core.gateway.http.transport import headers_of

    here, there = (headers_of(parse_http(url), ApiToken("s")) for url in ("http://[::1]:8080", "https://grid.example"))
    assert here["Host"] == "[::1]:8080"
    assert there["Host"] == "grid.example"
    assert here["Accept"].startswith(RAW)
    assert "Htcgrid-Machine" in here
    assert "Htcgrid-Machine" not in there, "what proves to be on a machine is told to nobody elsewhere"
    assert there["Accept-Encoding"] == "gzip"
