"""What a server answers when something about it is broken, or about a request is odd."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.api import models
from htcgrid_core.codecs.values import decode_json
from htcgrid_core.domain.errors import AccessDenied, IncompatibleGrid
from htcgrid_core.services import cutting
from tests.asked import Application

NDJSON = "application/x-ndjson"


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    """Of a grid in memory."""
    found = Application(tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("error", "status"),
    [(AccessDenied("no"), 503), (IncompatibleGrid("of another release"), 409), (ValueError("a fault"), 500)],
    ids=str,
)
def test_an_upload_that_cannot_be_submitted_now_is_not_just_accepted(
    application: Application, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def submit(*_: Any, **__: Any) -> None:
        raise error

    opened = application.ask("POST", "/v1/sessions", {"function": "a.b", "tenant": "default"})
    assert opened.status == 201, opened.body
    path = f"/v1/sessions/{opened.json['id']}"
    assert application.ask("PUT", f"{path}/parts/0", b"1", NDJSON).status == 200
    with monkeypatch.context() as broken:
        broken.setattr(cutting, "submit", submit)
        assert application.ask("POST", f"{path}/seal", {"parts": 1, "wait": 20}).status == status
    sealed = application.ask("POST", f"{path}/seal", {"parts": 1, "wait": 20})  # it was not given up
    assert sealed.status == 200
    assert sealed.json["total"] == 1


def test_an_upload_that_fails_when_nobody_waits_is_told_to_whoever_seals_again(
    application: Application, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And not to the log, as an error of the server's."""
    answered = threading.Event()

    def submit(*_: Any, **__: Any) -> None:
        answered.wait()
        raise AccessDenied("no")

    opened = application.ask("POST", "/v1/sessions", {"function": "a.b", "tenant": "default"})
    path = f"/v1/sessions/{opened.json['id']}"
    assert application.ask("PUT", f"{path}/parts/0", b"1", NDJSON).status == 200
    monkeypatch.setattr(cutting, "submit", submit)
    with monkeypatch.context() as impatient:
        impatient.setattr(models, "WAIT_SECONDS", 0.01)
        assert application.ask("POST", f"{path}/seal", {"parts": 1}).status == 202
    answered.set()
    assert application.ask("POST", f"{path}/seal", {"parts": 1}).status == 503
    gc.collect()
    assert [one for one in caplog.records if one.name == "asyncio"] == []


def test_a_grid_without_such_storage_offers_no_urls(application: Application) -> None:
    assert application.ask("GET", "/v1/grid").json["direct_parts"] is False
    opened = application.ask("POST", "/v1/sessions", {"function": "a.b", "tenant": "default"})
    path = f"/v1/sessions/{opened.json['id']}/parts"
    part = {"number": 0, "bytes": 1, "sha256": "0" * 64}
    answer = application.ask("POST", path, {"parts": [part]})
    assert (answer.status, answer.json["code"]) == (409, "not-offered")
    assert "send them to this server" in answer.json["detail"]
    assert application.ask("PUT", f"{path}/0", b"1", NDJSON).status == 200


@pytest.mark.parametrize("text", [b'{"n": 12345678901234567890123}', b"\n [0.1, -98765432109876543210]\n"])
def test_a_shared_input_keeps_its_numbers(application: Application, text: bytes) -> None:
    put = application.ask("POST", "/v1/shared", text)
    assert put.status == 201, put.body
    stored = application.plane.blobs.get(f"shared/{put.json['digest']}")
    assert decode_json(stored) == json.loads(text)


def test_a_shared_input_that_is_nested_too_deep_is_malformed(application: Application) -> None:
    for depth in (1000, 100_000):
        put = application.ask("POST", "/v1/shared", b"[" * depth + b"]" * depth)
        assert (put.status, put.json["code"]) == (400, "malformed")


def test_no_path_is_answered_under_anothers_name(application: Application) -> None:
    for path in ("/v1/sessions/", "/nowhere"):
        lured = application.ask("GET", path, headers={"host": "evil.example"})
        assert (lured.status, lured.json["code"]) == (421, "wrong-host")
        assert "location" not in lured.headers
        assert application.ask("GET", path).status == 404


PAGE = "https://desk.example"


def _told(headers: dict[str, str]) -> set[str]:
    return {name for name in headers if name.startswith("access-control-")}


def test_pages_of_allowed_origins_may_ask_and_read(tmp_path: Path) -> None:
    application = Application(tmp_path, origins=[PAGE])
    wanted = {"origin": PAGE, "access-control-request-method": "POST"}
    may = application.ask("OPTIONS", "/v1/sessions", headers=wanted)
    assert (may.status, may.headers["access-control-allow-origin"], may.headers["vary"]) == (204, PAGE, "Origin")
    assert "POST" in may.headers["access-control-allow-methods"]
    assert {"authorization", "content-type", "idempotency-key"} <= set(
        may.headers["access-control-allow-headers"].split(", ")
    )
    for path, headers in (("/v1/sessions", {}), ("/v1/sessions", {"authorization": "Bearer no"}), ("/nowhere", {})):
        answer = application.ask("GET", path, headers={"origin": PAGE, **headers})
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "access-control-allow-credentials" not in answer.headers
    for origin in ("https://evil.example", "null"):
        for method in ("OPTIONS", "GET"):
            refused = application.ask(method, "/v1/sessions", headers={**wanted, "origin": origin})
            assert (refused.status, _told(refused.headers)) == (403, set())
    other_name = application.ask("OPTIONS", "/v1/sessions", headers={**wanted, "host": "evil.example"})
    assert other_name.status == 421
    application.close()


def test_without_allowed_origins_no_page_is_told_anything(application: Application) -> None:
    wanted = {"origin": PAGE, "access-control-request-method": "POST"}
    refused = application.ask("OPTIONS", "/v1/sessions", headers=wanted)
    assert (refused.status, _told(refused.headers)) == (403, set())
