"""Webhooks: signed, sent to the address that was looked at, and what their answers mean."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.adapters import webhooks
from htcgrid_core.adapters.messenger import WorldMessenger
from htcgrid_core.domain.destination import Destination, check_destination
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.notification import WEBHOOK_DELAYS
from htcgrid_core.ports.messenger import NO_MESSENGER, Heard
from htcgrid_core.services import telling
from tests.manual_agent import finish
from tests.planes import NOW, ManualClock, memory_plane, still_grid

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
EVENT = {"id": "e-1", "data": {"text": "ü"}}


@dataclass
class Hook:
    """A webhook that answers what it is told to.

    Attributes:
        statuses: of the next answers; the last one stays.
        heard: headers and body of each request.
        drips: whether its answers have no end.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    drips: bool = False

    @property
    def destination(self) -> Destination:
        return Destination(name="desk", target=self.url, secret=SECRET, may_be_private=True)


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            return

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.heard.append(({key.lower(): value for key, value in self.headers.items()}, body))
            if found.drips:
                self._drip()
                return
            self.send_response(found.statuses.pop(0) if len(found.statuses) > 1 else found.statuses[0])
            self.send_header("Location", f"{found.url}/elsewhere")
            self.end_headers()

        def _drip(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.wfile.write(b"HTTP/1.1 ")
                while True:
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(0.02)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://localhost:{server.server_address[1]}/grid?x=1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def test_is_signed_as_the_standard_says(hook: Hook) -> None:
    assert webhooks.send(hook.destination, EVENT, NOW + 0.9).heard is Heard.YES
    ((headers, body),) = hook.heard
    assert json.loads(body) == EVENT
    assert headers["content-type"] == "application/cloudevents+json"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("e-1", str(int(NOW)))
    signed = f"e-1.{int(NOW)}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    made = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{made}"


@pytest.mark.parametrize(
    ("status", "heard"),
    [
        (200, Heard.YES),
        (302, Heard.LATER),
        (400, Heard.LATER),
        (410, Heard.GONE),
        (429, Heard.LATER),
        (500, Heard.LATER),
    ],
)
def test_what_answers_mean(hook: Hook, status: int, heard: Heard) -> None:
    hook.statuses = [status]
    assert webhooks.send(hook.destination, EVENT, NOW).heard is heard
    assert len(hook.heard) == 1, "a redirect is not followed"


def test_nobody_answers() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
        nobody = Destination(name="desk", target=url, may_be_private=True)
        assert webhooks.send(nobody, EVENT, NOW).heard is Heard.LATER
    unknown = Destination(name="desk", target="https://no-such-host.invalid/")
    assert webhooks.send(unknown, EVENT, NOW).heard is Heard.LATER


def test_a_private_address_gets_nothing(hook: Hook) -> None:
    private = hook.destination.model_copy(update={"may_be_private": False})
    assert webhooks.send(private, EVENT, NOW).heard is Heard.NEVER
    assert hook.heard == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "::1", "fe80::1%eth0", "fd00::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "ff02::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_internet(address: str) -> None:
    assert not webhooks.is_public(address)


def test_addresses_of_the_internet() -> None:
    assert webhooks.is_public("93.184.216.34")
    assert webhooks.is_public("2606:2800:220:1:248:1893:25c8:1946")


def test_the_address_that_was_looked_at_is_the_one_that_is_asked(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere a moment later (DNS rebinding)."""
    lookups = []
    look_up = socket.getaddrinfo

    def once(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "desk.example.com":
            lookups.append(host)
            host = "127.0.0.1" if len(lookups) == 1 else "192.0.2.1"
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    named = hook.destination.model_copy(update={"target": hook.url.replace("localhost", "desk.example.com")})
    assert webhooks.send(named, EVENT, NOW).heard is Heard.YES
    assert lookups == ["desk.example.com"]
    assert hook.heard[0][0]["host"].startswith("desk.example.com")


@pytest.mark.parametrize(
    "addresses", [["93.184.216.34", "10.0.0.1"], ["2606:2800:220:1:248:1893:25c8:1946", "::1"], ["169.254.169.254"]]
)
def test_one_private_address_among_others_is_enough(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)
    monkeypatch.setattr(socket, "create_connection", lambda *_args: pytest.fail("it was asked"))
    answer = webhooks.send(Destination(name="desk", target="https://desk.example.com/"), EVENT, NOW)
    assert (answer.heard, "private network" in answer.detail) == (Heard.NEVER, True)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
def test_other_ways_to_write_this_machine(host: str) -> None:
    assert webhooks.send(Destination(name="desk", target=f"https://{host}/"), EVENT, NOW).heard is Heard.NEVER


def test_an_answer_that_never_ends(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte after another: none is late, and all together are."""
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 0.3)
    hook.drips = True
    answer = webhooks.send(hook.destination, EVENT, NOW)
    assert answer.heard is Heard.LATER
    assert "did not answer" in answer.detail


def test_what_is_no_destination() -> None:
    for target in (
        "ftp://x.example/",
        "http://x.example/",
        "https://user@x.example/",
        "https:///x",
        "arn:aws:s3:::b",
        "",
    ):
        with pytest.raises(InvalidInput, match="is no destination"):
            check_destination(Destination(name="desk", target=target))
    for secret in ("0123456789abcdef", "whsec_!", "whsec_AAAA"):
        with pytest.raises(InvalidInput, match="secret of destination desk"):
            check_destination(Destination(name="desk", target="https://x.example/", secret=secret))


def test_one_id_and_one_event_until_it_is_heard_and_410_disables(hook: Hook, tmp_path: Path) -> None:
    clock = ManualClock()
    plane = replace(memory_plane(tmp_path, clock=clock), messenger=WorldMessenger(lambda: NO_MESSENGER))
    plane.outbox.put_destination(hook.destination)
    hook.statuses = [500, 503, 204]
    session = still_grid(plane).submit("math.sqrt", [1], notify="desk")
    finish(plane, lambda event: event)
    for wait in (0.0, *WEBHOOK_DELAYS[:3]):
        clock.pass_(wait * 1.2)
        telling.tell_all(plane)
    assert len(hook.heard) == 3
    assert len({(headers["webhook-id"], body) for headers, body in hook.heard}) == 1
    assert len({headers["webhook-signature"] for headers, _ in hook.heard}) == 3
    (row,) = session.notifications()
    assert (row.state, row.attempts) == ("DELIVERED", 3)

    hook.statuses = [410]
    other = still_grid(plane).submit("math.sqrt", [1], notify=["desk"])
    finish(plane, lambda event: event)
    telling.tell_all(plane)
    assert other.notifications()[0].state == "REFUSED"
    with pytest.raises(InvalidInput, match="is disabled: localhost answered 410"):
        still_grid(plane).submit("math.sqrt", [1], notify="desk")


def test_a_webhook_is_given_up_in_the_end(hook: Hook, tmp_path: Path) -> None:
    clock = ManualClock()
    plane = replace(memory_plane(tmp_path, clock=clock), messenger=WorldMessenger(lambda: NO_MESSENGER))
    plane.outbox.put_destination(hook.destination)
    hook.statuses = [500]
    session = still_grid(plane).submit("math.sqrt", [1], notify="desk")
    finish(plane, lambda event: event)
    for _ in range(20):
        telling.tell_all(plane)
        clock.pass_(100_000)
    (row,) = session.notifications()
    assert (row.state, row.attempts) == ("REFUSED", len(WEBHOOK_DELAYS) + 1)
    assert row.detail == "given up after 10 tries: localhost answered 500"
