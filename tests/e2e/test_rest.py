"""The REST API, asked as somebody would who has never heard of Python."""

from __future__ import annotations

import gzip
import io
import json
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from htcgrid_core import FunctionNotFound, Grid, connect
from htcgrid_core.domain.agent import AgentRecord, BegunTask
from htcgrid_core.testing import handlers
from tests.e2e.support import fresh_grid
from tests.planes import plane_of
from tests.rest import NDJSON, Rest
from tests.served import serving

HANDLER = f"{handlers.__name__}.{handlers.task.__name__}"


@pytest.fixture(scope="module")
def grid_of_rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """A fresh grid, for who looks behind its server."""
    with fresh_grid(tmp_path_factory.mktemp("rest") / "grid") as url, connect(url) as grid:
        yield grid


@pytest.fixture(scope="module")
def rest(grid_of_rest: Grid, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """Its server, and that one's generated key."""
    with serving(grid_of_rest.url, tmp_path_factory.mktemp("keys") / "keys.json") as server:
        yield Rest(server.url, server.token)


def _new(rest: Rest, events: list[Any] | None, **options: Any) -> dict[str, Any]:
    headers = options.pop("headers", None)
    options.setdefault("retry", {"max_attempts": 1})
    answer = rest.post("/v1/sessions", {"function": HANDLER, "events": events, **options}, headers=headers)
    assert answer.status == 201, answer.body
    session: dict[str, Any] = answer.json
    return session


def test_a_session_from_submit_to_results(rest: Rest) -> None:
    session = _new(rest, [1, 2, {"raise": "no"}], name="book", labels={"desk": "rates"})
    assert session["total"] == 3
    ended = rest.ended(session["id"])
    assert (ended["state"], ended["completed"], ended["failed"]) == ("FAILED", 2, 1)
    lines = rest.get(f"/v1/sessions/{session['id']}/results").lines
    assert [(line["index"], line["state"]) for line in lines] == [(0, "COMPLETED"), (1, "COMPLETED"), (2, "FAILED")]
    assert [line.get("result") for line in lines] == [2, 4, None]
    assert (lines[2]["error"]["type"], lines[2]["error"]["message"]) == ("ValueError", "no")
    assert rest.get(f"/v1/sessions/{session['id']}/events").lines == [1, 2, {"raise": "no"}]


def test_an_idempotency_key_is_one_session(rest: Rest) -> None:
    headers = {"Idempotency-Key": "book of today"}
    first, again = _new(rest, [1], headers=headers), _new(rest, [1], headers=headers)
    assert first["id"] == again["id"]
    other = rest.post(
        "/v1/sessions", {"function": HANDLER, "events": [2], "retry": {"max_attempts": 1}}, headers=headers
    )
    assert (other.status, other.json["code"]) == (422, "session-conflict")


@pytest.mark.parametrize("key", ["", "Zürich", "x" * 1025])
@pytest.mark.parametrize("named", [{}, {"id": "s-named-by-its-client"}])
def test_what_is_no_idempotency_key_is_refused(rest: Rest, key: str, named: dict[str, str]) -> None:
    """Also beside an id, which would count before it."""
    answer = rest.post("/v1/sessions", {"function": HANDLER, "events": [1], **named}, headers={"Idempotency-Key": key})
    assert (answer.status, answer.json["code"]) == (400, "invalid-request")


def test_an_upload_in_parts_is_taken_up_again(rest: Rest) -> None:
    opened = _new(rest, None, headers={"Idempotency-Key": "upload"})
    path = f"/v1/sessions/{opened['id']}"
    assert (opened["state"], opened["total"]) == ("SUBMITTED", 0)
    assert rest.put(f"{path}/parts/1", b"3\n4", media=NDJSON).json == {"number": 1, "events": 2}
    lacking = rest.post(f"{path}/seal", {"parts": 2})
    assert (lacking.status, "lacks 1 of 2 parts: 0" in lacking.json["detail"]) == (422, True)
    again = _new(rest, None, headers={"Idempotency-Key": "upload"})
    assert again["id"] == opened["id"]
    assert rest.get(f"{path}/parts").json == {"parts": [1]}
    rest.put(f"{path}/parts/0", b"1\n\n2\n", media=NDJSON)
    assert rest.post(f"{path}/seal", {"parts": 2, "wait": 0}).status in (200, 202)
    assert rest.put(f"{path}/parts/2", b"5\n", media=NDJSON).json["code"] == "conflict", "submitted or not yet"
    rest.ended(opened["id"])
    assert [line["result"] for line in rest.get(f"{path}/results").lines] == [2, 4, 6, 8]
    late = rest.put(f"{path}/parts/2", b"5\n", media=NDJSON)
    assert (late.status, late.json["code"]) == (409, "conflict")
    sealed = rest.post(f"{path}/seal", {"parts": 2})
    assert (sealed.status, sealed.json["state"]) == (200, "COMPLETED")


def test_a_line_that_is_no_json_is_named(rest: Rest) -> None:
    opened = _new(rest, None)
    bad = rest.put(f"/v1/sessions/{opened['id']}/parts/0", b'{"a":1}\n{"a":\n', media=NDJSON)
    assert (bad.status, bad.json["code"], bad.json["line"]) == (400, "malformed", 2)
    assert rest.get(f"/v1/sessions/{opened['id']}/parts").json == {"parts": []}


def test_an_upload_can_be_cancelled(rest: Rest) -> None:
    opened = _new(rest, None)
    path = f"/v1/sessions/{opened['id']}"
    rest.put(f"{path}/parts/0", b"1", media=NDJSON)
    cancelled = rest.post(f"{path}/cancel", {"reason": "no need"}).json
    assert (cancelled["state"], cancelled["reason"]) == ("CANCELLED", "no need")
    assert rest.put(f"{path}/parts/1", b"1", media=NDJSON).status == 422
    assert rest.post("/v1/wait", {"sessions": [opened["id"]]}).json["done"]


def test_numbers_of_any_size_come_through(rest: Rest) -> None:
    numbers = [12345678901234567890123, -98765432109876543210, 0.1]
    opened = _new(rest, None)
    path = f"/v1/sessions/{opened['id']}"
    rest.put(f"{path}/parts/0", "\n".join(map(json.dumps, numbers)).encode(), media=NDJSON)
    rest.post(f"{path}/seal", {"parts": 1, "wait": 20})
    rest.ended(opened["id"])
    assert [line["result"] for line in rest.get(f"{path}/results").lines] == [2 * number for number in numbers]
    assert rest.get(f"{path}/events").lines == numbers


def test_results_in_pages(rest: Rest) -> None:
    session = _new(rest, list(range(25)))
    rest.ended(session["id"])
    found, start = [], "0"
    while start:
        page = rest.get(f"/v1/sessions/{session['id']}/results", start=start, limit=10)
        found += [line["result"] for line in page.lines]
        start = page.headers.get("htcgrid-next", "")
    assert found == [2 * number for number in range(25)]


@pytest.mark.parametrize("kind", ["outcomes", "tasks"])
def test_tasks_in_pages_of_their_cursors(rest: Rest, kind: str) -> None:
    session = _new(rest, [*range(20), {"raise": "no"}])
    rest.ended(session["id"])
    found: list[int] = []
    options: dict[str, Any] = {"limit": 3}
    while lines := rest.get(f"/v1/sessions/{session['id']}/{kind}", **options).lines:
        found += [line["index"] for line in lines]
        options["cursor"] = lines[-1]["cursor"]
    assert sorted(found) == list(range(21))


def test_tasks_that_never_ran_have_pages_too(rest: Rest) -> None:
    session = _new(rest, [{"sleep": 600}] * 30)
    path = f"/v1/sessions/{session['id']}"
    rest.post(f"{path}/cancel")
    rest.ended(session["id"])
    found: list[int] = []
    options: dict[str, Any] = {"limit": 7, "state": "CANCELLED"}
    while lines := rest.get(f"{path}/tasks", **options).lines:
        found += [line["index"] for line in lines]
        options["cursor"] = lines[-1]["cursor"]
    assert found == list(range(30))
    assert rest.get(f"{path}/tasks/3").json["state"] == "CANCELLED"


def test_the_list_has_a_cursor_and_filters(rest: Rest) -> None:
    ids = [_new(rest, [], labels={"book": "list"}, name=f"n{number}")["id"] for number in range(5)]
    found: list[str] = []
    options: dict[str, Any] = {"limit": 2, "label": "book=list"}
    while True:
        page = rest.get("/v1/sessions", **options).json
        found += [one["id"] for one in page["sessions"]]
        if page["next_cursor"] is None:
            break
        options["cursor"] = page["next_cursor"]
    assert found == ids[::-1]
    named = rest.get("/v1/sessions", name="n3", label="book=list").json["sessions"]
    assert [one["id"] for one in named] == [ids[3]]
    assert rest.get("/v1/sessions", state=["RUNNING", "FAILED"], label="book=list").json["sessions"] == []
    since = named[0]["submitted_at"]
    later = rest.get("/v1/sessions", label="book=list", submitted_after=since).json["sessions"]
    assert [one["id"] for one in later] == [ids[4]]
    assert rest.get("/v1/sessions", cursor="nonsense").json["code"] == "invalid-request"


def test_waiting_for_any_all_and_a_change(rest: Rest) -> None:
    fast, slow = _new(rest, [1])["id"], _new(rest, [{"sleep": 600}])["id"]
    assert rest.ended(fast)["state"] == "COMPLETED"
    both = [fast, slow]
    assert rest.post("/v1/wait", {"sessions": both, "until": "any"}).json["done"]
    waited = rest.post("/v1/wait", {"sessions": both, "timeout": 0.05}).json
    assert not waited["done"]
    seen = {one["id"]: one["version"] for one in waited["sessions"]}
    assert not rest.post("/v1/wait", {"sessions": [fast], "until": "change", "seen": seen, "timeout": 0.05}).json[
        "done"
    ]
    rest.post(f"/v1/sessions/{slow}/cancel")
    changed = rest.post("/v1/wait", {"sessions": both, "until": "change", "seen": seen}).json
    assert changed["done"]
    rest.ended(slow)
    assert rest.post("/v1/progress", {"sessions": [slow, "s-unknown-one", fast]}).json["sessions"][1]["id"] == fast


def test_progress_as_events_goes_on_where_it_ended(rest: Rest) -> None:
    session = _new(rest, [{"sleep": 0.2}, 1])["id"]
    events = list(_events(rest, session))
    assert [name for name, _, _ in events[:-1]] == ["progress"] * (len(events) - 1)
    name, last, data = events[-1]
    assert (name, data["state"], data["completed"]) == ("end", "COMPLETED", 2)
    assert list(_events(rest, session, last)) == []


def _events(rest: Rest, session: str, last: str | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
    told: dict[str, str] = {}
    headers = {"Last-Event-ID": last} if last else {}
    for line in rest.lines(f"/v1/sessions/{session}/watch", headers=headers):
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            told[name] = value
        elif "data" in told:
            yield told["event"], told["id"], json.loads(told["data"])
            told = {}


def test_what_did_not_complete_runs_again(rest: Rest) -> None:
    session = _new(rest, [1, {"raise": "no"}])["id"]
    rest.ended(session)
    again = rest.post(f"/v1/sessions/{session}/resubmit", headers={"Idempotency-Key": "again"})
    assert (again.status, again.json["total"], again.json["parent"]) == (201, 1, session)
    assert (
        rest.post(f"/v1/sessions/{session}/resubmit", headers={"Idempotency-Key": "again"}).json["id"]
        == again.json["id"]
    )
    rest.ended(again.json["id"])
    lines = rest.get(f"/v1/sessions/{again.json['id']}/results", start=1).lines
    assert [(line["index"], line["state"]) for line in lines] == [(1, "FAILED")]


def test_shared_inputs(rest: Rest) -> None:
    stored = rest.post("/v1/shared", [1, 2])
    assert stored.status == 201
    reference = {"$htcgrid.shared": stored.json["digest"], "codec": "json"}
    session = _new(rest, [reference])
    rest.ended(session["id"])
    assert rest.get(f"/v1/sessions/{session['id']}/results").lines[0]["result"] == [1, 2, 1, 2]
    missing = {"$htcgrid.shared": "0" * 64, "codec": "json"}
    refused = rest.post("/v1/sessions", {"function": HANDLER, "events": [{"echo": missing}]})
    assert (refused.status, refused.json["code"]) == (422, "invalid-input")


def test_the_load_is_flat_numbers(rest: Rest) -> None:
    load = rest.get("/v1/load/default").json
    numbers = {name: value for name, value in load.items() if name != "pool"}
    assert all(isinstance(value, int | float) for value in numbers.values())
    assert {"slots_wanted", "tasks", "busy"} <= set(numbers)
    assert rest.get("/v1/load/nowhere").status == 404


def test_agents_tell_what_they_use_and_since_when(rest: Rest, grid_of_rest: Grid) -> None:
    """Null is what nobody says, such as an agent of an earlier release; and the schema has it so."""
    rest.ended(_new(rest, [1])["id"])
    store = plane_of(grid_of_rest).store
    now = time.time()
    before = AgentRecord("before", "default", "host", 1, 2, 1, now)
    begun = (BegunTask("s-0123456789", 3, now - 5, attempt=1, slot=2, memory_bytes=7 << 30), BegunTask("s-1", 4, now))
    told = replace(before, agent_id="told", begun=begun, memory_bytes=9 << 30, memory_limit_bytes=1 << 44)
    for one in (before, told):
        store.beat(one)
    try:
        answer = rest.get("/v1/agents").json
    finally:
        for one in (before, told):
            store.forget_agent(one.agent_id)
    found = {one["agent"]: one for one in answer["agents"]}
    uses = {name: [one[f"{what}_bytes"] for what in ("memory", "memory_limit")] for name, one in found.items()}
    assert (uses["before"], uses["told"]) == ([None, None], [9 << 30, 1 << 44])
    assert found["before"]["started_at"] is None
    assert [(task["slot"], task["memory_bytes"]) for task in found["told"]["running"]] == [(2, 7 << 30), (None, None)]
    (real,) = found.keys() - {"before", "told"}
    assert 0 < found[real]["started_at"] <= found[real]["beat_at"]
    assert uses[real][1] > 0
    schemas = rest.get("/openapi.json").json["components"]["schemas"]
    assert {"started_at", "memory_bytes", "memory_limit_bytes"} <= schemas["Agent"]["properties"].keys()


def test_who_did_what(rest: Rest) -> None:
    session = _new(rest, [{"sleep": 600}])["id"]
    rest.post(f"/v1/sessions/{session}/cancel")
    rest.ended(session)
    entries = {one["event"]: one["actor"] for one in rest.get(f"/v1/sessions/{session}/history").json["entries"]}
    assert entries["submit"] == entries["cancel"] == "local"


def test_problems_have_codes(rest: Rest) -> None:
    for answer, expected in (
        (rest.get("/v1/nothing"), (404, "not-found")),
        (rest.ask("DELETE", "/v1/load"), (405, "method-not-allowed")),
        (rest.get("/v1/sessions/s-unknown-one"), (404, "session-not-found")),
        (rest.post("/v1/sessions", b"{"), (400, "malformed")),
        (rest.post("/v1/sessions", {"function": "f.g", "events": [], "what": 1}), (400, "invalid-request")),
        (rest.post("/v1/sessions", b"", media="text/plain"), (415, "unsupported-media-type")),
        (rest.post("/v1/sessions", {"function": "missing", "events": []}), (404, "function-not-found")),
        (Rest(rest.url).get("/v1/version"), (401, "unauthorized")),
        (Rest(rest.url, "wrong").get("/v1/version"), (401, "unauthorized")),
    ):
        assert (answer.status, answer.json["code"]) == expected
        assert answer.headers["content-type"] == "application/problem+json"


def _deployed(rest: Rest, name: str, *results: int) -> None:
    """One version for each result."""
    for result in results:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("code.py", f"def handler(event, context):\n    return {result}\n")
        answer = rest.post(f"/v1/functions/{name}", buffer.getvalue(), media="application/zip", handler="code.handler")
        assert answer.status == 201, answer.body


def test_how_a_function_is_run_is_said_over_http_too(rest: Rest) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("lambda-function.py", "def handler(event, context): ...\n")
    options = {
        "handler": "lambda-function.handler",
        "runtime_client": True,
        "variables": '{"AWS_LAMBDA_EXEC_WRAPPER": "w"}',
    }
    answer = rest.post("/v1/functions/wrapped", buffer.getvalue(), media="application/zip", **options)
    assert answer.status == 201, answer.body
    assert (answer.json["runtime_client"], answer.json["result_format"]) == (True, "json")


def test_an_alias_moves_a_share_of_the_sessions_at_a_time(rest: Rest) -> None:
    _deployed(rest, "moved", 1, 2)
    alias = "/v1/functions/moved/aliases/live"
    assert rest.put(alias, {"version": 3}).json["code"] == "function-not-found"
    assert rest.put(alias, {"version": 1}).json == {"version": 1, "weights": {}, "description": "", "name": "live"}

    def version_of(number: int) -> str:
        body = {"function": "moved:live", "events": []}
        answer = rest.post("/v1/sessions", body, headers={"Idempotency-Key": f"alias {number}"})
        assert answer.status == 201, answer.body
        return str(answer.json["function"])

    assert version_of(0) == "moved:1"
    assert rest.put(alias, {"version": 1, "weights": {"2": 0.5}}).json["weights"] == {"2": 0.5}
    drawn = [version_of(number) for number in range(1, 41)]
    assert set(drawn) == {"moved:1", "moved:2"}
    rest.put(alias, {"version": 2})
    assert [version_of(number) for number in range(1, 41)] == drawn  # those that are there stay as they are
    assert version_of(100) == "moved:2"
    with connect(rest.url, api_token=rest.token) as grid:  # as this project's own client says it
        assert grid.submit("moved:live", [], token="python").spec.function.name == "moved:2"
        rest.put(alias, {"version": 1})
        assert grid.submit("moved:live", [], token="python").spec.function.name == "moved:2"
        assert grid.submit("moved:live", []).spec.function.name == "moved:1"
        with pytest.raises(FunctionNotFound, match="moved:beta"):
            grid.submit("moved:beta", [])
        rest.put(alias, {"version": 2})
    assert rest.get("/v1/functions/moved/aliases").json["aliases"][0]["version"] == 2
    assert rest.put("/v1/functions/moved/aliases/_next", {"version": 1}).json["name"] == "_next"  # as AWS allows
    assert [one["name"] for one in rest.get("/v1/functions/moved/aliases").json["aliases"]] == ["_next", "live"]
    assert rest.ask("DELETE", "/v1/functions/moved/aliases/_next").status == 204
    assert rest.ask("DELETE", alias).status == 204
    assert rest.get(alias).json["code"] == "function-not-found"
    assert rest.get("/v1/functions/moved/aliases").json == {"aliases": []}


def test_answers_are_zipped_for_those_who_want_it(rest: Rest) -> None:
    session = _new(rest, list(range(500)))
    rest.ended(session["id"])
    path = f"/v1/sessions/{session['id']}"
    zipped = rest.get(f"{path}/results", headers={"Accept-Encoding": "gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    plain = rest.get(f"{path}/results")
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(zipped.body) == plain.body
    events = rest.get(f"{path}/watch", headers={"Accept-Encoding": "gzip"})
    assert events.headers["x-accel-buffering"] == "no", "or nginx would keep them back"
    assert "content-encoding" not in events.headers
