"""The port for health and metrics: bounded, and for those who ask for this machine."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core.agent import health
from htcgrid_core.agent.health import CONNECTIONS, Health
from htcgrid_core.agent.loop.readiness import Readiness
from htcgrid_core.testing.contracts.facts import together
from tests.planes import memory_plane

GUARD_SECONDS = 30.0


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Health]:
    monkeypatch.setattr(health, "CLIENT_SECONDS", 0.3)
    readiness = Readiness(memory_plane(tmp_path).clock)
    readiness.heard = True
    served = Health(readiness, lambda _accept: ("text/plain", b"metrics"), stuck_seconds=60, host="127.0.0.1", port=0)
    yield served
    served.close()


def ask(pages: Health, host: str | None, path: str = "/metrics") -> int:
    address, port = pages.address.rsplit(":", 1)
    connection = http.client.HTTPConnection(address, int(port), timeout=GUARD_SECONDS)
    connection.putrequest("GET", path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


ADDRESSES = ["127.0.0.1", "127.0.0.1:8080", "localhost:80", "10.0.0.7", "[::1]:80", "[fd00::1]", None]
NAMES = ["example.org", "example.org:8080", "127.0.0.1.example.org", "", "localhost.example.org"]


@pytest.mark.parametrize("host", ADDRESSES)
def test_addresses_are_answered(pages: Health, host: str | None) -> None:
    assert ask(pages, host) == 200
    assert ask(pages, socket.gethostname()) == 200


@pytest.mark.parametrize("host", NAMES)
def test_names_that_a_strangers_dns_may_give_are_not(pages: Health, host: str) -> None:
    """A page in somebody's browser can have its own name lead to this machine."""
    for path in ("/metrics", "/healthz", "/readyz", "/"):
        assert ask(pages, host, path) == 421


def connected(pages: Health) -> socket.socket:
    address, port = pages.address.rsplit(":", 1)
    return socket.create_connection((address, int(port)), timeout=GUARD_SECONDS)


def test_whoever_does_not_finish_a_request_is_hung_up_on(pages: Health) -> None:
    """However many they are, and although each sends a byte now and then."""

    def drip() -> bool:
        with connected(pages) as client:
            try:
                while True:
                    client.sendall(b"G")
                    client.settimeout(0.05)
                    try:
                        if client.recv(1) == b"":
                            return True
                    except TimeoutError:
                        continue
            except OSError:
                return True

    assert together([drip] * (2 * CONNECTIONS)) == [True] * (2 * CONNECTIONS)
    assert ask(pages, "127.0.0.1") == 200


def test_no_more_connections_than_it_has_threads_for(pages: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CLIENT_SECONDS", GUARD_SECONDS)
    held = [connected(pages) for _ in range(CONNECTIONS)]
    for client in held:
        client.sendall(b"GET ")
    with connected(pages) as late:
        assert late.recv(1) == b"", "hung up on at once"
    for client in held:
        client.close()
