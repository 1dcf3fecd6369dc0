"""The console's sign-in, against other pages, other ports of this machine, and those who find an old address."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.api.auth.keys import KeyFile, write_keys
from htcgrid_core.api.console import STATIC, sign_ins
from htcgrid_core.api.console.browser import HEADER
from htcgrid_core.api.console.sign_ins import SignIns
from tests.asked import Answered, Application
from tests.served import key

OWN = {"origin": "http://here", "sec-fetch-site": "same-origin", "authorization": ""}


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    """Of a server that a page of another origin may ask with a key."""
    found = Application(tmp_path, ["https://desk.example"])
    yield found
    found.close()


def sign_in(
    application: Application, given: Mapping[str, str] | None = None, headers: Mapping[str, str] = OWN
) -> Answered:
    return application.ask("POST", "/console/sign-in", given or {"key": application.secret}, headers=headers)


def halves(answered: Answered) -> dict[str, str]:
    """What a browser sends from then on."""
    cookie = answered.headers["set-cookie"].partition(";")[0]
    return {**OWN, "cookie": cookie, HEADER: answered.json["page"]}


def test_who_is_signed_in_is_its_key(application: Application) -> None:
    answered = sign_in(application)
    assert answered.status == 200
    cookie = answered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    both = halves(answered)
    grid = application.ask("GET", "/v1/grid", headers=both)
    assert grid.status == 200
    assert grid.json["scopes"] == ["code", "hold", "operate", "read", "submit"]
    made = application.ask("POST", "/v1/sessions", {"function": "a.b", "events": []}, headers=both)
    assert made.status == 201, made.body
    history = application.ask("GET", f"/v1/sessions/{made.json['id']}/history", headers=both).json
    assert history["entries"][0]["actor"] == "desk"


@pytest.mark.parametrize(
    "changed",
    [
        {HEADER: ""},  # another server of this host, to which a browser sent the cookie
        {"cookie": ""},
        {HEADER: "guessed"},
        {"cookie": "htcgrid_console=guessed"},
        {"cookie": "other=x"},
    ],
    ids=str,
)
def test_half_of_it_is_nothing(application: Application, changed: dict[str, str]) -> None:
    asked = application.ask("GET", "/v1/sessions", headers={**halves(sign_in(application)), **changed})
    assert (asked.status, asked.json["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"origin": "http://here:9999"},  # the same site, as browsers have it
        {"origin": "https://desk.example"},  # which may use keys, and no cookie
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"origin": ""},
    ],
    ids=str,
)
def test_other_pages_may_neither_write_nor_sign_in(application: Application, elsewhere: dict[str, str]) -> None:
    both = {**halves(sign_in(application)), **elsewhere}
    for path in ("/v1/sessions", "/console/sign-out"):
        assert application.ask("POST", path, {"function": "a.b", "events": []}, headers=both).status == 403
    assert sign_in(application, headers={**OWN, **elsewhere}).status == 403
    if elsewhere != {"origin": ""}:  # with which own pages read
        assert application.ask("GET", "/v1/sessions", headers=both).status == 403
    assert application.ask("GET", "/v1/sessions", headers={**both, **OWN}).json["sessions"] == []


def test_a_form_of_another_page_is_no_json(application: Application) -> None:
    data = f'{{"key": "{application.secret}"}}'.encode()
    assert application.ask("POST", "/console/sign-in", data, "text/plain", headers=OWN).status == 415


@pytest.mark.parametrize("body", [b"", b"[]", b'{"code": 1}', b'{"other": ""}', b'{"key": "' + b"x" * 5000 + b'"}'])
def test_nonsense_signs_nobody_in(application: Application, body: bytes) -> None:
    asked = application.ask("POST", "/console/sign-in", body, headers=OWN)
    assert asked.status in (400, 413)
    assert "set-cookie" not in asked.headers


@pytest.mark.parametrize("given", [{"key": "htcgrid_guessed"}, {"code": "guessed"}, {"code": ""}], ids=str)
def test_what_is_guessed_signs_nobody_in(application: Application, given: dict[str, str]) -> None:
    asked = sign_in(application, given)
    assert (asked.status, "set-cookie" in asked.headers) == (401, False)


def test_a_cookie_of_a_server_above_this_ones_path_is_no_obstacle(application: Application) -> None:
    """A browser sends those of all paths that its address is below, the nearest first."""
    both = halves(sign_in(application))
    for cookies in (f"{both['cookie']}; htcgrid_console=anothers", f"htcgrid_console=anothers;{both['cookie']}"):
        assert application.ask("GET", "/v1/grid", headers={**both, "cookie": cookies}).status == 200
    assert application.ask("POST", "/console/sign-out", headers={**both, "cookie": cookies}).status == 204
    assert application.ask("GET", "/v1/grid", headers=both).status == 401


def test_no_cache_keeps_what_the_api_answers(application: Application) -> None:
    """Whoever asks next through it, or on this machine, may be somebody else."""
    both = halves(sign_in(application))
    made = application.ask("POST", "/v1/sessions", {"function": "a.b", "events": []}, headers=both).json["id"]
    for path in ("/v1/grid", "/v1/sessions", f"/v1/sessions/{made}", f"/v1/sessions/{made}/tasks", "/v1/load"):
        assert application.ask("GET", path, headers=both).headers["cache-control"] == "no-store", path
    states = application.ask("GET", f"/v1/sessions/{made}/states", headers=both).headers
    assert states["cache-control"] == "private, no-cache", "which is asked for again, with its tag"


def test_signing_out(application: Application) -> None:
    both = halves(sign_in(application))
    assert application.ask("POST", "/console/sign-out", headers=both).status == 204
    assert application.ask("GET", "/v1/sessions", headers=both).status == 401


def test_a_stranger_is_told_nothing(application: Application) -> None:
    application.ask("POST", "/v1/sessions", {"function": "a.secret", "events": [], "name": "secret-book"})
    for path in ("/console", "/console/", "/console/sessions/s-0123456789", "/console/agents"):
        page = application.ask("GET", path, headers={"authorization": ""})
        assert page.status == 200
        assert b"secret" not in page.body
        assert b"s-0123456789" not in page.body
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
    for path in ("/v1/sessions", "/v1/agents", "/v1/load", "/v1/functions", "/v1/sessions/s-0123456789/states"):
        assert application.ask("GET", path, headers={"authorization": ""}).status == 401


@pytest.mark.parametrize("name", ["../routes.py", "..%2froutes.py", "%2e%2e/sign_ins.py", "nothing.js", ""])
def test_no_other_file_is_served(application: Application, name: str) -> None:
    found = application.ask("GET", f"/console/static/{name}")
    assert found.status == 404 or found.body.startswith(b"<!doctype html>")


def test_no_name_of_another_server(application: Application) -> None:
    for method, path in (("GET", "/console/"), ("GET", "/console/static/main.js"), ("POST", "/console/sign-in")):
        assert application.ask(method, path, headers={"host": "evil.example"}).status == 421


def test_files_are_sent_once(application: Application) -> None:
    first = application.ask("GET", "/console/static/main.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = application.ask("GET", "/console/static/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda file: file.name)
def test_the_page_makes_no_html_of_texts(file: Path) -> None:
    """What its policy forbids is not even tried; and nothing is loaded from elsewhere."""
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|https?://(?!www\.w3\.org/2000/svg)"
    )
    assert not re.search(forbidden, file.read_text())


class Clock:
    """Both clocks."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def known(folder: Path, clock: Clock, *keys: Any) -> SignIns:
    write_keys(folder / "some.json", list(keys))
    return SignIns(KeyFile(folder / "some.json"), clock, clock)


class TestSignIns:
    def test_an_address_is_good_once(self, tmp_path: Path, clock: Clock) -> None:
        found = known(tmp_path, clock, key("local"))
        code = found.new_code()
        assert code is not None
        first = found.by_code(code)
        assert first is not None
        assert found.key_of(first) is not None
        assert found.by_code(code) is None

    def test_an_address_that_nobody_used_gets_old(self, tmp_path: Path, clock: Clock) -> None:
        found = known(tmp_path, clock, key("local"))
        code = found.new_code()
        assert code is not None
        clock.now += sign_ins.CODE_SECONDS
        assert found.by_code(code) is None

    def test_without_the_local_principal_there_is_none(self, tmp_path: Path, clock: Clock) -> None:
        assert known(tmp_path, clock, key("desk")).new_code() is None
        assert known(tmp_path, clock, key("local", expires_at=clock.now)).new_code() is None

    def test_a_key_that_ends_ends_what_it_signed_in(self, tmp_path: Path, clock: Clock) -> None:
        short = key("local", expires_at=clock.now + 60)
        found = known(tmp_path, clock, short)
        both = found.by_key(short.secret)
        assert both is not None
        assert found.key_of(both) == short
        clock.now += 60
        assert found.key_of(both) is None

    def test_who_is_idle_is_signed_out(self, tmp_path: Path, clock: Clock) -> None:
        one = key("local")
        found = known(tmp_path, clock, one)
        both = found.by_key(one.secret)
        assert both is not None
        for _ in range(3):
            clock.now += sign_ins.IDLE_SECONDS
            assert found.key_of(both) == one
        clock.now += sign_ins.IDLE_SECONDS + 1
        assert found.key_of(both) is None

    def test_so_many_browsers_are_kept(self, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sign_ins, "KEPT", 2)
        one = key("local")
        found = known(tmp_path, clock, one)
        some = [found.by_key(one.secret) for _ in range(3)]
        assert [both is not None and found.key_of(both) is not None for both in some] == [False, True, True]
