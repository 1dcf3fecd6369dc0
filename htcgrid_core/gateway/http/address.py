"""Where a server is, from its URL; and what it is told so that it knows who asks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NoReturn
from urllib.parse import urlsplit

from htcgrid_core.domain.errors import AccessDenied, UnknownGrid

TOKEN_VARIABLE = "HTCGRID_API_TOKEN"  # noqa: S105 - a variable's name
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A server.

    Attributes:
        url: as whoever connected wrote it.
        is_secure: whether it is spoken to by TLS.
        base: what all paths begin with; empty or ``/SOMETHING``.
        is_loopback: whether it is on this machine.
    """

    url: str
    is_secure: bool
    host: str
    port: int
    base: str
    is_loopback: bool

    @property
    def authority(self) -> str:
        """As it stands in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.is_secure else "http"] else f"{host}:{self.port}"


def parse_http(url: str) -> Address:
    """The server that a URL names.

    Raises:
        UnknownGrid: it names none, holds what could be a secret, or would send one in clear text over a network.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UnknownGrid("that is no URL of a grid's server: write https://HOST, or http://127.0.0.1:PORT") from None
    if parts.username is not None or parts.password is not None:
        raise UnknownGrid(
            "a grid's URL holds no user and no password: it is shown in logs and messages. Give the API token as "
            f"api_token, or in {TOKEN_VARIABLE}"
        )
    if parts.query or parts.fragment:
        raise UnknownGrid("the URL of a grid's server has neither options nor a fragment: write https://HOST")
    if not host:
        raise UnknownGrid(f"{url!r} names no host: write https://HOST, or http://127.0.0.1:PORT")
    is_loopback = _is_loopback(host)
    if parts.scheme == "http" and not is_loopback:
        raise UnknownGrid(
            f"{url!r} would send the API token and all data in clear text: use https://, or http:// on this machine"
        )
    base = parts.path.rstrip("/")
    return Address(url, parts.scheme == "https", host, port or _PORTS[parts.scheme], base, is_loopback)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class ApiToken:
    """The secret by which a server knows who asks. It is shown and stored nowhere."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not text.isascii() or not text.isprintable() or " " in text:
            raise AccessDenied("an API token is a word of printable ASCII characters; this one is something else")
        self._text = text

    @classmethod
    def given(cls, text: str | None) -> ApiToken:
        """What was given, or else is in the environment.

        Raises:
            AccessDenied: nothing is.
        """
        found = (text or os.environ.get(TOKEN_VARIABLE, "")).strip()
        if not found:
            raise AccessDenied(
                f"a grid's server wants an API token: connect(url, api_token=...), or {TOKEN_VARIABLE} in the "
                "environment. `htcgrid serve` says where it keeps the one that it made"
            )
        return cls(found)

    @property
    def header(self) -> str:
        """The value of the Authorization header."""
        return f"Bearer {self._text}"

    def __repr__(self) -> str:
        return "ApiToken(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API token is not pickled: it would be stored or sent")
