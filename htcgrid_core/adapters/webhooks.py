"""Webhooks: signed as the Standard Webhooks say, and sent to the very address that was looked at."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import threading
from typing import Any
from urllib.parse import urlsplit

from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.version import __version__
from htcgrid_core.ports.messenger import Answer, Heard

TIMEOUT_SECONDS = 10.0
_GONE = 410


def send(destination: Destination, event: dict[str, Any], now: float) -> Answer:
    """POST an event.

    Redirects are not followed: they would lead elsewhere than to the address that was looked at.

    Args:
        now: wall clock, seconds; each try has its own time and signature, and the event's id.
    """
    body = json.dumps(event, separators=(",", ":")).encode()
    parts = urlsplit(destination.target)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    try:
        address = _address_of(host, port, may_be_private=destination.may_be_private)
    except OSError as error:
        return Answer(Heard.LATER, f"{host} has no address now: {error}")
    if address is None:
        return Answer(Heard.NEVER, f"{host} is an address of a private network, to which nothing is sent")
    headers = {
        "Content-Type": "application/cloudevents+json",
        "User-Agent": f"htcgrid/{__version__}",
        **signature(destination.key, str(event["id"]), now, body),
    }
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connection(host, port, address, is_tls=is_tls)
    # A socket's own time limit begins anew at each byte, of which an answer may have many.
    hurry = threading.Timer(TIMEOUT_SECONDS, _break_off, [connection])
    hurry.start()
    try:
        connection.request("POST", path, body, headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return Answer(Heard.LATER, f"{host} did not answer: {type(error).__name__}: {error}")
    finally:
        hurry.cancel()
        connection.close()
    return _answer(host, status)


def _break_off(connection: http.client.HTTPConnection) -> None:
    """Whoever waits for an answer waits no more."""
    found = connection.sock
    if found is not None:
        with contextlib.suppress(OSError):  # it is closed already
            found.shutdown(socket.SHUT_RDWR)


def signature(key: bytes, event_id: str, now: float, body: bytes) -> dict[str, str]:
    """The headers that say what is sent, when, and by whom; without a key, nobody can tell by whom."""
    sent_at = str(int(now))
    headers = {"webhook-id": event_id, "webhook-timestamp": sent_at}
    if key:
        signed = hmac.digest(key, f"{event_id}.{sent_at}.".encode() + body, hashlib.sha256)
        headers["webhook-signature"] = "v1," + base64.b64encode(signed).decode()
    return headers


def _answer(host: str, status: int) -> Answer:
    said = f"{host} answered {status}"
    if 200 <= status < 300:
        return Answer(Heard.YES, said)
    if status == _GONE:
        return Answer(Heard.GONE, said)
    return Answer(Heard.LATER, said)


def _address_of(host: str, port: int, *, may_be_private: bool) -> str | None:
    """The first address of a host; None if one of them is not of the Internet."""
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not may_be_private and not all(is_public(address) for address in found):
        return None
    return found[0]


def is_public(address: str) -> bool:
    """Whether an address is one of the Internet, which no service of a cloud or a host listens to alone."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo and parsed.teredo[1])
        if inner and not is_public(str(inner)):
            return False
        if parsed in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
    return parsed.is_global and not parsed.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _connection(host: str, port: int, address: str, *, is_tls: bool) -> http.client.HTTPConnection:
    """A connection to an address, in the name of a host."""
    if not is_tls:
        plain = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
        plain._create_connection = _dial(address)  # type: ignore[attr-defined]  # there is no public way
        return plain
    secure = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
    secure._create_connection = _dial(address)  # type: ignore[attr-defined]
    return secure


def _dial(address: str) -> Any:
    def dial(where: tuple[str, int], timeout: float, source: Any = None) -> socket.socket:
        return socket.create_connection((address, where[1]), timeout, source)

    return dial
