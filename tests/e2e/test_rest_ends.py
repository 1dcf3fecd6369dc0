"""Servers that end, told to or killed: nobody takes a part for the whole, and another server goes on."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core.testing import handlers
from tests.e2e.support import fresh_grid
from tests.rest import NDJSON, Rest
from tests.served import Server, serving

HANDLER = f"{handlers.__name__}.{handlers.task.__name__}"
SLOW = {"sleep": 600}


@pytest.fixture(scope="module")
def grid_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A grid that servers come to and leave."""
    with fresh_grid(tmp_path_factory.mktemp("ends") / "grid") as url:
        yield url


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def _rest(server: Server) -> Rest:
    return Rest(server.url, server.token)


def _new(rest: Rest, events: list[object] | None, **options: object) -> str:
    answer = rest.post("/v1/sessions", {"function": HANDLER, "events": events, **options})
    assert answer.status == 201, answer.body
    found: str = answer.json["id"]
    return found


def test_who_waits_is_let_go_when_the_server_is_told_to_end(grid_url: str, key_file: Path) -> None:
    with serving(grid_url, key_file) as server:
        rest = _rest(server)
        session = _new(rest, [SLOW])
        stream, poll = rest.connection(), rest.connection()
        events = rest.sent(stream, "GET", f"/v1/sessions/{session}/watch")
        assert events.readline() == b"event: progress\n"
        waited: list[object] = []
        asked = threading.Event()

        def wait() -> None:
            poll.request(
                "POST",
                "/v1/wait",
                json.dumps({"sessions": [session]}),
                {"Authorization": f"Bearer {rest.token}", "Content-Type": "application/json"},
            )
            asked.set()
            waited.append(json.loads(poll.getresponse().read()))

        thread = threading.Thread(target=wait)
        thread.start()
        asked.wait()
        rest.get("/v1/version")  # what was asked before is being waited for
        server.process.send_signal(signal.SIGTERM)
        events.read()  # to its end: the stream was ended, not broken
        thread.join()
        assert server.process.wait(60) in (0, -signal.SIGTERM)
        stream.close()
        poll.close()
        (answer,) = waited
        assert isinstance(answer, dict)
        assert not answer["done"]
    with serving(grid_url, key_file) as server:
        _rest(server).post(f"/v1/sessions/{session}/cancel")


def test_results_that_break_off_are_seen_to(grid_url: str, key_file: Path) -> None:
    with serving(grid_url, key_file) as server:
        rest = _rest(server)
        session = _new(rest, ["x" * 500_000] * 12)
        assert rest.ended(session)["state"] == "COMPLETED"
        connection = rest.connection()
        response = rest.sent(connection, "GET", f"/v1/sessions/{session}/results")
        assert response.readline()
        server.kill()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        connection.close()
    with serving(grid_url, key_file) as server:
        assert len(_rest(server).get(f"/v1/sessions/{session}/results", start=1).lines) == 11


@pytest.mark.parametrize("when", ["in the middle", "once it is sealed"])
def test_an_upload_goes_on_at_another_server(grid_url: str, key_file: Path, when: str) -> None:
    key = {"Idempotency-Key": f"upload that is cut off {when}"}
    body = {"function": HANDLER}
    parts = [b"".join(b"%d\n" % (1000 * part + number) for number in range(1000)) for part in range(4)]
    with serving(grid_url, key_file) as server:
        rest = _rest(server)
        session = rest.post("/v1/sessions", body, headers=key).json["id"]
        there = parts if when == "once it is sealed" else parts[:2]
        for number, part in enumerate(there):
            assert rest.put(f"/v1/sessions/{session}/parts/{number}", part, media=NDJSON).json["events"] == 1000
        if len(there) == len(parts):
            assert rest.post(f"/v1/sessions/{session}/seal", {"parts": 4}).status in (200, 202)
        server.kill()
    with serving(grid_url, key_file) as server:
        rest = _rest(server)
        again = rest.post("/v1/sessions", body, headers=key)
        assert (again.status, again.json["id"]) == (201, session)
        if when == "in the middle":
            found = rest.get(f"/v1/sessions/{session}/parts").json["parts"]
            assert found == [0, 1]
            for number in set(range(4)) - set(found):
                rest.put(f"/v1/sessions/{session}/parts/{number}", parts[number], media=NDJSON)
            rest.post(f"/v1/sessions/{session}/seal", {"parts": 4})
        assert rest.ended(session)["completed"] == 4000
        results = [line["result"] for line in rest.get(f"/v1/sessions/{session}/results").lines]
        assert results == [2 * number for number in range(4000)]
