"""Parts of uploads that clients put into the bucket themselves: what a URL takes, and what agents make of them."""

from __future__ import annotations

import base64
import hashlib
import http.client
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from htcgrid_core import GridUnavailable, Session, SessionNotFound, connect, session_id_of
from htcgrid_core.adapters.aws.s3.part_urls import GOOD_SECONDS
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.plane import open_cloud
from htcgrid_core.gateway.http import asks, submitting
from htcgrid_core.gateway.http.direct_parts import DirectPut, Storage
from htcgrid_core.services.direct_parts import INCOMING
from htcgrid_core.services.uploads import UPLOADS
from tests.aws.grids import PROGRAM, CloudUnderTest
from tests.e2e.support import eventually
from tests.rest import Rest
from tests.served import Server, key, serving

DOUBLE, ECHO = "tests.e2e.handlers.double", "tests.e2e.handlers.echo"
COUNT, FILLER = 400, "x" * 50_000  # some steps of 4 MiB
SCOPES = "read submit code"
KEYS = [key("acme", SCOPES, "acme"), key("other", SCOPES, "other"), key("reader", "read", "acme")]


@pytest.fixture
def server(aws_cloud: CloudUnderTest, tmp_path: Path) -> Iterator[Server]:
    with serving(aws_cloud.url, tmp_path / "keys.json", keys=KEYS, environ=aws_cloud.environment) as found:
        yield found


@pytest.fixture
def acme(server: Server) -> Rest:
    return Rest(server.url, KEYS[0].secret)


def opened(rest: Rest, idempotency_key: str = "a book") -> str:
    answer = rest.post("/v1/sessions", {"function": DOUBLE}, headers={"Idempotency-Key": idempotency_key})
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def announced(number: int, body: bytes) -> dict[str, object]:
    return {"number": number, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def url_for(rest: Rest, session_id: str, number: int, body: bytes) -> dict[str, Any]:
    answer = rest.post(f"/v1/sessions/{session_id}/parts", {"parts": [announced(number, body)]})
    assert answer.status == 200, answer.body
    (found,) = answer.json["parts"]
    return dict(found)


def put(found: dict[str, Any], body: bytes, *, path: str | None = None, **headers: str) -> int:
    """As curl would: exactly what was told, but for what a test changes."""
    parts = urlsplit(str(found["url"]))
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        told = {**found["headers"], "Content-Length": str(len(body)), **headers}
        connection.request("PUT", f"{path or parts.path}?{parts.query}", body, told)
        return connection.getresponse().status
    finally:
        connection.close()


def checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def keys_below(grid: CloudUnderTest, prefix: str) -> list[str]:
    cloud = open_cloud(parse_aws(grid.url))
    try:
        return cloud.plane.blobs.keys(prefix)
    finally:
        cloud.close()


def lines(first: int, count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(first, first + count))


def test_a_session_of_parts_that_went_past_the_server(aws_cloud: CloudUnderTest, acme: Rest) -> None:
    assert acme.get("/v1/grid").json["direct_parts"] is True
    session_id, bodies = opened(acme), [lines(0, 100), lines(100, 100), lines(200, 100)]
    path = f"/v1/sessions/{session_id}"
    for number in (2, 0):
        assert put(url_for(acme, session_id, number, bodies[number]), bodies[number]) == 200
    assert url_for(acme, session_id, 0, bodies[0])["stored"] is True  # after a crash it need not be put again
    assert acme.get(f"{path}/parts").json["parts"] == [0, 2]
    lacking = acme.post(f"{path}/seal", {"parts": 3})
    assert (lacking.status, lacking.json["code"]) == (422, "invalid-input")
    assert put(url_for(acme, session_id, 1, bodies[1]), bodies[1]) == 200
    sealed = acme.post(f"{path}/seal", {"parts": 3})
    assert (sealed.status, sealed.json["state"]) == (202, "SUBMITTED")
    late = acme.post(f"{path}/parts", {"parts": [announced(3, b"1")]})
    assert late.status == 422
    aws_cloud.start_agent()
    assert acme.ended(session_id)["completed"] == 300
    assert [line["result"] for line in acme.get(f"{path}/results").lines] == [2 * n for n in range(300)]
    eventually(lambda: not keys_below(aws_cloud, INCOMING) and not keys_below(aws_cloud, UPLOADS), "parts are removed")
    assert acme.post(f"{path}/seal", {"parts": 3}).status == 200
    # All of it again under the same key is the same session; another body is refused.
    for body, status in ((bodies[2], 200), (b"7", 422)):
        assert opened(acme) == session_id
        for number, part in enumerate([*bodies[:2], body]):
            assert put(url_for(acme, session_id, number, part), part) == 200
        assert acme.post(f"{path}/seal", {"parts": 3, "wait": 20}).status == status


def test_a_line_that_is_no_json_ends_the_session_with_part_and_line(aws_cloud: CloudUnderTest, acme: Rest) -> None:
    session_id, body = opened(acme), b'{"a": 1}\n\n{"a": }\n'
    assert put(url_for(acme, session_id, 0, body), body) == 200
    assert acme.post(f"/v1/sessions/{session_id}/seal", {"parts": 1}).status == 202
    aws_cloud.start_agent()
    ended = acme.ended(session_id)
    assert ended["state"] == "CANCELLED"
    assert "part 0, line 3: it is no JSON" in ended["reason"]
    refused = acme.post(f"/v1/sessions/{session_id}/seal", {"parts": 1})
    assert (refused.status, "part 0, line 3" in refused.json["detail"]) == (422, True)


# What a URL takes


def test_a_url_takes_no_other_key_length_or_checksum(aws_cloud: CloudUnderTest, server: Server, acme: Rest) -> None:
    """ministack verifies presigned signatures and checksums as S3 does."""
    session_id, body = opened(acme), b"1\n2\n"
    found = url_for(acme, session_id, 0, body)
    parts, headers = urlsplit(found["url"]), found["headers"]
    query = parse_qs(parts.query)
    signed = set(query["X-Amz-SignedHeaders"][0].split(";"))
    assert {"host", "content-length", "content-type", "x-amz-checksum-sha256"} <= signed
    assert {name.lower() for name in headers} == signed - {"host"}  # so that a client sends all that is signed
    assert int(query["X-Amz-Expires"][0]) == GOOD_SECONDS <= 900
    assert 0 < found["expires_at"] - time.time() <= GOOD_SECONDS + 60
    assert headers["Content-Length"] == str(len(body))
    assert headers["x-amz-checksum-sha256"] == checksum(body)
    folder = f"/{INCOMING}acme/{session_id}/"
    assert folder in parts.path
    for path in (
        parts.path.replace("/000000/", "/000001/"),
        parts.path.replace("acme", "other"),
        f"{parts.path.partition(folder)[0]}/functions/deployed",
    ):
        assert put(found, body, path=path) == 403
    assert put(found, body + b"3\n") == 403
    assert put(found, b"1\n3\n") == 400  # the checksum that was signed
    assert put(found, b"1\n3\n", **{"x-amz-checksum-sha256": checksum(b"1\n3\n")}) == 403
    assert put({**found, "headers": {}}, body) == 403
    assert put(found, body, **{"Content-Type": "text/html"}) == 403
    assert keys_below(aws_cloud, INCOMING) == []
    assert put(found, body) == 200
    conflict = acme.post(f"/v1/sessions/{session_id}/parts", {"parts": [announced(0, b"2")]})
    assert (conflict.status, conflict.json["code"]) == (409, "conflict")
    # Who may have one.
    other, reader = Rest(server.url, KEYS[1].secret), Rest(server.url, KEYS[2].secret)
    part = announced(1, b"1")
    theirs = other.post(f"/v1/sessions/{session_id}/parts", {"parts": [part]})
    missing = other.post("/v1/sessions/other.s-0000000000000000/parts", {"parts": [part]})
    assert (theirs.status, missing.status) == (404, 404)
    assert reader.post(f"/v1/sessions/{session_id}/parts", {"parts": [part]}).status == 403
    no_good = ({"number": 10_000}, {"bytes": 0}, {"sha256": "../../shared"}, {"media": "text/plain"}, {"key": "x"})
    for change in no_good:
        assert acme.post(f"/v1/sessions/{session_id}/parts", {"parts": [{**part, **change}]}).status == 400


def test_what_a_store_let_pass_is_refused_when_it_is_read(aws_cloud: CloudUnderTest, acme: Rest) -> None:
    """Whoever enforces nothing, or lets others write, changes nothing: agents look at what they read."""
    body = b"1\n2\n"
    cloud = open_cloud(parse_aws(aws_cloud.url))
    for change, why in ((b"1\n3\n", "its SHA-256 is another"), (b"1\n2\n3\n", "it has not 4 bytes")):
        session_id = opened(acme, why)
        assert put(url_for(acme, session_id, 0, body), body) == 200
        (object_key,) = cloud.plane.blobs.keys(INCOMING)
        cloud.clients.s3.put_object(Bucket=cloud.parameter.bucket, Key=object_key, Body=change)
        assert acme.post(f"/v1/sessions/{session_id}/seal", {"parts": 1}).status == 202
        assert aws_cloud.run("reconcile").returncode == 0
        ended = acme.ended(session_id)
        assert (ended["state"], ended["total"]) == ("CANCELLED", 0)
        assert why in ended["reason"]
    cloud.close()


def test_what_is_cancelled_leaves_no_part(aws_cloud: CloudUnderTest, acme: Rest) -> None:
    session_id = opened(acme)
    assert put(url_for(acme, session_id, 0, b"1"), b"1") == 200
    assert acme.post(f"/v1/sessions/{session_id}/seal", {"parts": 1}).status == 202
    assert acme.post(f"/v1/sessions/{session_id}/cancel", {"reason": "enough"}).status == 200
    assert keys_below(aws_cloud, INCOMING) == keys_below(aws_cloud, UPLOADS) == []
    assert aws_cloud.run("reconcile").returncode == 0
    assert acme.ended(session_id)["state"] == "CANCELLED"


# Agents that die, and this project's own client


@pytest.mark.slow  # tests/unit/test_cutting.py enumerates every call
def test_a_client_and_cutters_that_are_killed(
    aws_cloud: CloudUnderTest, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client puts what is behind its first part past the server; who cuts is killed in the middle, twice."""
    monkeypatch.setattr(submitting, "PART_BYTES", 1 << 20)
    monkeypatch.setattr(submitting, "LARGE_FROM_BYTES", 1 << 20)
    events, done = [f"{number}{FILLER}" for number in range(COUNT)], list[Session]()
    urls = list[int]()
    part_url = asks.part_url

    def noted(session_id: str, number: int, body: bytes) -> Any:
        urls.append(number)
        return part_url(session_id, number, body)

    monkeypatch.setattr(asks, "part_url", noted)
    token = "a large book"
    session_id = session_id_of(token, "acme")
    cloud = open_cloud(parse_aws(aws_cloud.url))

    def total() -> int | None:
        """Tasks of the session while it is not whole."""
        try:
            record = cloud.plane.store.session(session_id, time.time())
        except SessionNotFound:
            return -1
        return record.counters.total if not record.acknowledged else None

    with connect(server.url, api_token=KEYS[0].secret) as grid:
        submit = threading.Thread(target=lambda: done.append(grid.submit(ECHO, events, token=token, tenant="acme")))
        submit.start()
        eventually(lambda: total() == 0, "it is sealed")
        for before in (0, 1):
            cutter = subprocess.Popen([PROGRAM, "reconcile", "--url", aws_cloud.url], env=aws_cloud.environment)
            eventually(lambda least=before: (total() or 0) > least, "some are written")  # type: ignore[misc]
            cutter.kill()
            cutter.wait()
            assert (total() or 0) > before, "it was done too soon to be killed"
        assert aws_cloud.run("reconcile").returncode == 0
        submit.join()
        assert urls == list(range(urls[0], urls[-1] + 1))
        assert len(urls) > 2
        aws_cloud.start_agent()
        (session,) = done
        assert [result[: len(FILLER) and -len(FILLER)] for result in session.results()] == list(map(str, range(COUNT)))
    assert keys_below(aws_cloud, INCOMING) == []
    cloud.close()


def test_a_client_whose_way_to_the_bucket_is_closed_sends_through_the_server(
    aws_cloud: CloudUnderTest, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(submitting, "PART_BYTES", 1000)
    monkeypatch.setattr(submitting, "LARGE_FROM_BYTES", 1000)

    def closed(self: Storage, part: DirectPut) -> None:
        raise GridUnavailable("no route")

    monkeypatch.setattr(Storage, "put", closed)
    aws_cloud.start_agent()
    with connect(server.url, api_token=KEYS[0].secret) as grid:
        session = grid.submit(DOUBLE, list(range(2000)), tenant="acme")
        assert list(session.results()) == [2 * number for number in range(2000)]
    assert "parts go through the server from now on" in caplog.text
