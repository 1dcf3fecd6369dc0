"""Attacks on a server of the REST API, with harmless inputs: whoever lacks a scope or a tenant gets nothing of it."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import socket
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from htcgrid_core.api.auth.keys import read_keys, write_keys
from htcgrid_core.codecs import wire
from htcgrid_core.codecs.submission import Submission
from htcgrid_core.domain.function import Environment, FunctionSpec, Package
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.testing import handlers
from tests.e2e.support import eventually, fresh_grid
from tests.rest import NDJSON, Answer, Rest
from tests.served import Server, key, serving

HANDLER = f"{handlers.__name__}.{handlers.task.__name__}"
KEYS = [
    key("reader", "read", "acme"),
    key("submitter", "read submit", "acme"),
    key("coder", "read submit code", "acme"),
    key("stranger", "read submit code", "other"),
    key("operator", "operate"),
    key("deskhead", "read operate", "other"),
    key("expired", "read", "acme", expires_at=time.time() - 1),
]


@dataclass
class Served:
    """A server, and everybody who may ask it."""

    server: Server
    grid: Path
    log: Path

    def __getattr__(self, name: str) -> Rest:
        (found,) = (one for one in KEYS if one.name == name)
        return Rest(self.server.url, found.secret)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all tests of this module, with a function and a session of tenant acme's."""
    folder = tmp_path_factory.mktemp("rest")
    log = folder / "log"
    with (
        fresh_grid(folder / "grid") as url,
        log.open("w") as stderr,
        serving(url, folder / "keys.json", keys=KEYS, stderr=stderr) as server,
    ):
        found = Served(server, folder / "grid", log)
        assert _deploy(found.coder, "pricing").status == 201
        yield found


@pytest.fixture(scope="module")
def session(served: Served) -> str:
    """A session of tenant acme's that is over."""
    answer = served.submitter.post("/v1/sessions", {"function": "pricing", "events": [1]})
    assert answer.status == 201
    found: str = answer.json["id"]
    assert served.submitter.ended(found)["state"] == "COMPLETED"
    return found


def _deploy(rest: Rest, name: str, text: str = "def handler(event, context):\n    return event\n") -> Answer:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("code.py", text)
    return rest.post(f"/v1/functions/{name}", buffer.getvalue(), media="application/zip", handler="code.handler")


def _raw(rest: Rest, spec: SessionSpec, events: list[bytes], session_id: str = "acme.s-raw-form") -> Answer:
    frames = wire.framed(wire.HEAD, Submission(session_id, spec).write())
    frames += wire.framed(wire.EVENTS, wire.packed_events(events)) + wire.framed(wire.END, b"")
    return rest.post("/v1/sessions", frames, media=wire.RAW)


def _code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["code"]


FORBIDDEN = (403, "forbidden")


# What needs scope code


@pytest.mark.parametrize("function", ["os.system", HANDLER, "builtins.eval"])
def test_submit_names_no_import_path(served: Served, function: str) -> None:
    assert _code(served.submitter.post("/v1/sessions", {"function": function, "events": ["true"]})) == FORBIDDEN
    assert _code(served.submitter.post("/v1/sessions", {"function": function})) == FORBIDDEN


def test_submit_neither_deploys_nor_puts_code(served: Served) -> None:
    rest = served.submitter
    assert _code(_deploy(rest, "pricing")) == FORBIDDEN
    assert _code(rest.ask("DELETE", "/v1/functions/pricing")) == FORBIDDEN
    assert _code(rest.post("/v1/callables", pickle.dumps(len), media="application/octet-stream")) == FORBIDDEN
    assert _code(rest.post("/v1/shared", pickle.dumps(1), media=wire.RAW)) == FORBIDDEN


def test_submit_in_the_raw_form_is_no_more_than_submit(served: Served) -> None:
    package = Package(function="pricing", version=1, handler="os.system", runtime="python3.11")
    deployed = FunctionSpec(name="pricing:1", package=package)
    path = FunctionSpec(name="os.system")
    stolen = FunctionSpec(name="f", blob=f"functions/{'0' * 64}")
    for spec in (
        SessionSpec(function=path, tenant="acme"),
        SessionSpec(function=stolen, tenant="acme"),
        SessionSpec(function=deployed, tenant="acme", codec="pickle"),
    ):
        assert _code(_raw(served.submitter, spec, [b"1"])) == FORBIDDEN
    taken = _raw(served.submitter, SessionSpec(function=deployed, tenant="acme"), [b"1"])
    assert taken.status == 201
    session = served.submitter.ended("acme.s-raw-form")
    assert session["state"] == "COMPLETED"  # its handler is that of the deployed version, whatever was said


def test_code_names_no_folder_of_another_machine(served: Served) -> None:
    where = Environment(python="/bin/false", path=("/nowhere",), cwd="/nowhere")
    spec = SessionSpec(function=FunctionSpec(name=HANDLER, environment=where), tenant="acme")
    assert _raw(served.coder, spec, [b"1"], "acme.s-elsewhere").status == 201
    assert served.coder.ended("acme.s-elsewhere")["state"] == "COMPLETED"


def test_a_blob_is_no_package_of_somebodys(served: Served) -> None:
    spec = SessionSpec(function=FunctionSpec(name="f", blob=f"packages/{'0' * 64}", call="event"), tenant="acme")
    assert _code(_raw(served.coder, spec, [b"1"], "acme.s-of-a-package")) == (422, "invalid-input")


def test_what_others_code_left_is_run_again_only_with_code(served: Served) -> None:
    made = served.coder.post(
        "/v1/sessions", {"function": HANDLER, "events": [{"raise": "no"}], "retry": {"max_attempts": 1}}
    )
    served.coder.ended(made.json["id"])
    again = f"/v1/sessions/{made.json['id']}/resubmit"
    assert _code(served.submitter.post(again)) == FORBIDDEN
    assert served.coder.post(again).status == 201


def test_parts_of_others_code_need_code(served: Served) -> None:
    made = served.coder.post("/v1/sessions", {"function": HANDLER})
    part = f"/v1/sessions/{made.json['id']}/parts/0"
    assert _code(served.submitter.put(part, b"1", media=NDJSON)) == FORBIDDEN


def test_each_scope_alone(served: Served) -> None:
    assert _code(served.reader.post("/v1/sessions", {"function": "pricing", "events": []})) == FORBIDDEN
    assert _code(served.operator.get("/v1/sessions")) == FORBIDDEN
    assert _code(served.coder.get("/v1/agents")) == FORBIDDEN
    assert _code(served.coder.get("/v1/destinations")) == FORBIDDEN
    assert served.operator.get("/v1/agents").status == 200
    for path in ("/v1/audit", "/v1/audit/export"):
        assert _code(served.coder.get(path)) == FORBIDDEN
        assert served.operator.get(path).status == 200
    assert _code(served.operator.get("/v1/costs")) == FORBIDDEN
    assert _code(served.coder.put("/v1/destinations/d", {"target": "https://example.org"})) == FORBIDDEN


# Tenants

OF_A_SESSION = [
    ("GET", "", None), ("GET", "/watch", None), ("GET", "/history", None), ("GET", "/notifications", None),
    ("POST", "/cancel", {}), ("POST", "/adopt", {"owner": "me"}), ("POST", "/resubmit", {}), ("GET", "/parts", None),
    ("PUT", "/parts/0", b"1\n"), ("POST", "/seal", {"parts": 1}), ("GET", "/results", None), ("GET", "/outcomes", None),
    ("GET", "/tasks", None), ("GET", "/tasks/0", None), ("GET", "/events", None), ("GET", "/audit", None),
    ("GET", "/cost", None), ("GET", "/states", None), ("GET", "/timings", None), ("GET", "/tasks/0/attempts", None),
]  # fmt: skip


def test_only_who_operates_deletes_sessions_and_only_its_own(served: Served, session: str) -> None:
    path = f"/v1/sessions/{session}"
    assert _code(served.coder.ask("DELETE", path)) == FORBIDDEN
    theirs, nobodys = (
        served.deskhead.ask("DELETE", path),
        served.deskhead.ask("DELETE", "/v1/sessions/acme.s-" + "0" * 24),
    )
    assert (theirs.status, nobodys.status) == (404, 404)
    assert theirs.json.keys() == nobodys.json.keys()
    made = served.submitter.post("/v1/sessions", {"function": "pricing", "events": [1]}).json["id"]
    served.submitter.ended(made)
    assert served.operator.ask("DELETE", f"/v1/sessions/{made}?reason=no+need").status == 204
    assert served.operator.ask("DELETE", f"/v1/sessions/{made}").status == 404
    assert served.submitter.get(f"/v1/sessions/{made}").status == 404
    last = served.submitter.get(f"/v1/sessions/{made}/audit").json["entries"][-1]
    assert (last["event"], last["actor"], last["detail"]) == ("delete", "operator", "no need")
    assert served.submitter.get(path).status == 200


@pytest.mark.parametrize(("method", "path", "body"), OF_A_SESSION, ids=lambda value: str(value))
def test_anothers_session_is_a_missing_one_to_the_byte(
    served: Served, session: str, method: str, path: str, body: Any
) -> None:
    missing = "acme.s-" + "0" * (len(session) - len("acme.s-"))
    media = NDJSON if isinstance(body, bytes) else "application/json"
    for accept in ("application/json", wire.RAW):
        theirs, nobodys = (
            served.stranger.ask(method, f"/v1/sessions/{one}{path}", body, media=media, headers={"Accept": accept})
            for one in (session, missing)
        )
        assert theirs.status == 404
        assert theirs.body.replace(session.encode(), missing.encode()) == nobodys.body
        assert _headers(theirs) == _headers(nobodys)
    own = served.stranger.ask(method, f"/v1/sessions/{missing.replace('acme', 'other')}{path}", body, media=media)
    assert own.body.replace(b"other.s-", b"acme.s-").replace(b"other", b"acme") == nobodys.body


def _headers(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}


def test_anothers_doings_and_costs_are_in_no_list(served: Served, session: str) -> None:
    """Nor what is done to the grid, for those who do not act for everybody."""
    rest = served.deskhead
    assert rest.get("/v1/audit").json["entries"] == []
    head, end = map(json.loads, rest.get("/v1/audit/export").body.splitlines())
    assert (head["tenants"], end["entries"]) == (["other"], 0), "it does not say that nothing was done at all"
    assert json.loads(served.operator.get("/v1/audit/export").body.splitlines()[0])["tenants"] is None
    assert rest.get("/v1/costs").json["rows"] == []
    assert session in json.dumps(served.operator.get("/v1/audit").json)
    assert {entry["event"] for entry in served.operator.get("/v1/audit").json["entries"]} >= {"deploy", "submit"}
    (submitted,) = (
        one for one in served.reader.get(f"/v1/sessions/{session}/audit").json["entries"] if one["event"] == "submit"
    )
    assert (submitted["actor"], submitted["address"]) == ("submitter", "127.0.0.1")
    assert [row["key"] for row in served.reader.get("/v1/costs").json["rows"]] == ["acme"]


def test_costs_of_more_than_a_month_are_not_read_at_once(served: Served) -> None:
    within = served.reader.get("/v1/costs", **{"from": "2026-01-01", "to": "2026-01-31"})
    assert (within.status, within.json["rows"]) == (200, [])
    refused = served.reader.get("/v1/costs", **{"from": "2026-01-01", "to": "2026-02-01"})
    assert (refused.status, b"at most 31" in refused.body) == (422, True)


def test_a_page_of_the_audit_does_not_name_anothers_session_in_its_cursor(served: Served, session: str) -> None:
    """Those who act for everybody go on from it, entry by entry."""
    rest, cursor, pages = served.deskhead, None, 0
    while pages == 0 or cursor is not None:
        page = rest.get("/v1/audit", limit=1, **({"cursor": cursor} if cursor else {})).json
        cursor, pages = page["next_cursor"], pages + 1
        assert page["entries"] == []
        assert session not in json.dumps(page)
    assert pages > 2
    first = served.operator.get("/v1/audit", limit=2).json
    second = served.operator.get("/v1/audit", limit=2, cursor=first["next_cursor"]).json
    assert second["entries"]
    assert first["entries"][-1] not in second["entries"]


@pytest.mark.parametrize("cursor", ["x", "[]", '[1e9,"s-1",1]', "null"])
def test_a_cursor_of_the_audit_that_is_none(served: Served, cursor: str) -> None:
    answer = served.operator.get("/v1/audit", cursor=cursor)
    assert (answer.status, "no page begins at this cursor" in answer.json["detail"]) == (404, True)


def test_who_is_refused_is_in_the_audit_once_in_a_while(served: Served) -> None:
    """However often he tries."""
    for _ in range(5):
        assert _code(served.stranger.get("/v1/agents")) == FORBIDDEN
    refused = [
        one
        for one in served.operator.get("/v1/audit").json["entries"]
        if (one["event"], one["actor"], one["detail"]) == ("refused", "stranger", "agents needs scope operate")
    ]
    assert len(refused) == 1


def test_anothers_session_is_in_no_list(served: Served, session: str) -> None:
    rest = served.stranger
    assert session not in json.dumps(rest.get("/v1/sessions").json)
    assert rest.post("/v1/progress", {"sessions": [session]}).json == {"sessions": []}
    waited = rest.post("/v1/wait", {"sessions": [session]}).json
    assert (waited["done"], waited["sessions"]) == (True, [])
    ended = rest.get("/v1/ended", after=0)
    assert session.encode() not in ended.body
    assert session in served.reader.get("/v1/ended", after=0).body.decode()
    assert rest.get("/v1/sessions", tenant="acme").json["sessions"] == []


def test_anothers_function_is_a_missing_one_to_the_byte(served: Served) -> None:
    rest = served.stranger
    for method, path, body in (
        ("GET", "/v1/functions/{}", None),
        ("GET", "/v1/functions/{}/versions/1", None),
        ("GET", "/v1/functions/{}/versions/0", None),
        ("DELETE", "/v1/functions/{}", None),
        ("DELETE", "/v1/functions/{}/versions/1", None),
        ("POST", "/v1/sessions", {"function": "{}", "events": [1]}),
    ):
        theirs, nobodys = (
            rest.ask(method, path.format(name), json.loads(json.dumps(body).replace("{}", name)))
            for name in ("pricing", "nobodys")
        )
        assert _code(theirs) == (404, "function-not-found")
        assert theirs.body.replace(b"pricing", b"nobodys") == nobodys.body
    assert rest.get("/v1/functions").json == {"functions": []}
    for name in ("acme__pricing", "acme__nobodys"):
        assert _code(rest.post("/v1/sessions", {"function": name, "events": [1]})) == (404, "function-not-found")


def test_nobody_writes_anothers_function(served: Served) -> None:
    assert _deploy(served.stranger, "pricing").status == 201  # one of its own
    assert _deploy(served.stranger, "acme__pricing").status == 201  # also: it is other__acme__pricing
    own = served.coder.get("/v1/functions").json["functions"]
    assert [(one["function"], one["version"]) for one in own] == [("pricing", 1)]
    assert _code(served.stranger.ask("DELETE", "/v1/functions/pricing", tenant="acme")) == FORBIDDEN


def test_anothers_inputs_and_callables_are_missing_ones(served: Served) -> None:
    digest = served.submitter.post("/v1/shared", {"curve": [1, 2, 3]}).json["digest"]
    blob = served.coder.post("/v1/callables", pickle.dumps(len), media="application/octet-stream").json["blob"]

    def with_input(rest: Rest, name: str, function: str) -> Answer:
        event = {"a": [{"$htcgrid.shared": name, "codec": "json"}]}
        return rest.post("/v1/sessions", {"function": function, "events": [event]})

    assert with_input(served.submitter, digest, "pricing").status == 201
    theirs, nobodys = (with_input(served.stranger, name, HANDLER) for name in (digest, "0" * 64))
    assert _code(theirs) == (422, "invalid-input")
    assert theirs.body.replace(digest.encode(), b"0" * 64) == nobodys.body

    def with_blob(name: str) -> Answer:
        spec = SessionSpec(function=FunctionSpec(name="f", blob=name, call="event"), tenant="other", codec="pickle")
        return _raw(served.stranger, spec, [pickle.dumps("a")], "other.s-stolen")

    assert with_blob(blob).body == with_blob(f"functions/{'0' * 64}").body
    assert _code(with_blob(blob)) == (422, "invalid-input")


def test_nobody_submits_for_another_tenant(served: Served) -> None:
    rest = served.stranger
    body = {"function": HANDLER, "events": [1]}
    assert _code(rest.post("/v1/sessions", {**body, "tenant": "acme"})) == FORBIDDEN
    assert _code(rest.post("/v1/sessions", {**body, "tenant": "nobodys"})) == FORBIDDEN
    assert _code(rest.post("/v1/sessions", {**body, "id": "acme.s-mine-now"})) == FORBIDDEN
    spec = SessionSpec(function=FunctionSpec(name=HANDLER), tenant="acme")
    assert _code(_raw(rest, spec, [b"1"])) == FORBIDDEN
    spec = SessionSpec(function=FunctionSpec(name=HANDLER), tenant="other")
    assert _code(_raw(rest, spec, [b"1"], "acme.s-mine-now")) == FORBIDDEN


def test_an_idempotency_key_is_its_tenants(served: Served) -> None:
    headers = {"Idempotency-Key": "the same"}
    acme, other = (
        one.post("/v1/sessions", {"function": HANDLER, "events": [1]}, headers=headers).json["id"]
        for one in (served.coder, served.stranger)
    )
    assert (acme.split(".")[0], other.split(".")[0]) == ("acme", "other")


# Keys


def test_keys_that_are_no_good(served: Served) -> None:
    assert _code(served.expired.get("/v1/version")) == (401, "credentials-expired")
    for headers in (
        {"Authorization": "Bearer " + "x" * 100},
        {"Authorization": f"Basic {KEYS[0].secret}"},
        {"Authorization": f"Bearer {KEYS[0].id}"},
        {"Authorization": "Bearer "},
        {},
    ):
        answer = Rest(served.server.url, headers=headers).get("/v1/version")
        assert _code(answer) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert _code(Rest(served.server.url).get("/v1/version", token=KEYS[0].secret)) == (401, "unauthorized")


def test_a_removed_key_is_refused_and_a_new_one_taken(served: Served) -> None:
    path, fresh = served.server.key_file, key("fresh", "read", "acme")
    before = read_keys(path)
    try:
        write_keys(path, [*before, fresh])
        rest = Rest(served.server.url, fresh.secret)
        eventually(lambda: rest.get("/v1/version").status == 200, "a new key is taken")
        write_keys(path, before)
        eventually(lambda: rest.get("/v1/version").status == 401, "a removed key is refused")
    finally:
        write_keys(path, before)


def test_only_health_is_open(served: Served) -> None:
    nobody = Rest(served.server.url)
    assert nobody.get("/healthz").status == 200
    for path in ("/openapi.json", "/v1/version", "/v1/load", "/v1/sessions"):
        assert nobody.get(path).status == 401


def test_no_secret_is_in_the_log_or_the_grid(served: Served, session: str) -> None:
    found = [served.log, *(path for path in served.grid.rglob("*") if path.is_file())]
    for path in found:
        data = path.read_bytes()
        assert not any(one.secret.encode() in data for one in KEYS), path
    history = served.reader.get(f"/v1/sessions/{session}/history").json["entries"]
    assert history[0]["actor"] == "submitter"


# Browsers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "localhost@evil"])
def test_a_name_that_is_not_the_servers_is_refused(served: Served, host: str) -> None:
    assert _code(served.reader.get("/v1/version", headers={"Host": host})) == (421, "wrong-host")
    assert served.reader.get("/healthz", headers={"Host": host}).status == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "file://"])
def test_a_page_of_elsewhere_is_refused(served: Served, origin: str) -> None:
    assert _code(served.reader.get("/v1/version", headers={"Origin": origin})) == FORBIDDEN


def test_a_page_of_its_own_is_not(served: Served) -> None:
    assert served.reader.get("/v1/version", headers={"Origin": served.server.url}).status == 200


# Sizes and slowness


def test_a_body_that_is_too_large_is_not_read(served: Served) -> None:
    connection = served.coder.connection()
    connection.putrequest("POST", "/v1/sessions")
    connection.putheader("Authorization", f"Bearer {served.coder.token}")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["code"]) == (413, "too-large")
    connection.close()


def test_memory_is_bounded_whatever_is_sent(served: Served) -> None:
    process = psutil.Process(served.server.process.pid)
    before = process.memory_info().rss
    for _ in range(20):
        connection = served.coder.connection()
        connection.putrequest("POST", "/v1/sessions")
        connection.putheader("Authorization", f"Bearer {served.coder.token}")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        try:
            for _ in range(40):
                connection.send(chunk)
        except OSError:  # it does not listen any more
            pass
        connection.close()
    assert served.coder.get("/v1/version").status == 200
    assert process.memory_info().rss - before < 100 << 20


def test_deep_json_is_refused(served: Served) -> None:
    body = b'{"function": "pricing", "events": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert served.submitter.post("/v1/sessions", body).status in (400, 422)
    made = served.submitter.post("/v1/sessions", {"function": "pricing"}).json["id"]
    deep = b"[" * 100_000 + b"]" * 100_000
    assert _code(served.submitter.put(f"/v1/sessions/{made}/parts/0", deep, media=NDJSON)) == (400, "malformed")


def test_a_package_that_unpacks_to_too_much_is_refused(served: Served) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number in range(3):
            archive.writestr(f"zeros{number}", bytes(400 << 20))
    answer = served.coder.post("/v1/functions/bomb", buffer.getvalue(), media="application/zip", handler="a.b")
    assert _code(answer) == (422, "invalid-package")
    assert _code(served.coder.post("/v1/functions/bomb", b"PK", media="application/zip", handler="a.b")) == (
        422,
        "invalid-package",
    )


def test_half_open_connections_do_not_stop_others(served: Served) -> None:
    place = (served.reader.connection().host, served.reader.connection().port)
    held = [socket.create_connection(place) for _ in range(200)]
    for one in held[::2]:
        one.send(b"GET /v1/version HTTP/1.1\r\nHost: 127")
    assert served.reader.get("/v1/version").status == 200
    for one in held:
        one.close()


def test_headers_without_end_are_hung_up(served: Served) -> None:
    place = (served.reader.connection().host, served.reader.connection().port)
    with socket.create_connection(place) as sock:
        sock.settimeout(60)
        sock.sendall(b"GET /v1/version HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        sent = 0
        with contextlib.suppress(OSError):  # a reset, or a broken pipe
            for sent in range(100_000):
                sock.sendall(b"X-%d: %s\r\n" % (sent, b"a" * 1000))
        assert sent < 99_999
    assert served.reader.get("/v1/version").status == 200


def test_requests_over_the_rate_are_told_when_to_come_again(tmp_path: Path) -> None:
    with fresh_grid(tmp_path / "grid") as url, serving(url, tmp_path / "keys.json", "--rate", "2") as server:
        rest = Rest(server.url, server.token)
        answers = [rest.get("/v1/version") for _ in range(12)]
        refused = [answer for answer in answers if answer.status == 429]
        assert refused
        assert answers[0].status == 200
        assert all(
            int(answer.headers["retry-after"]) >= 1 and answer.json["code"] == "rate-limited" for answer in refused
        )
