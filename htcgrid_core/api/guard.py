"""What is refused before anything is read: names that are not this server's, and pages of other origins."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import Request

from htcgrid_core.api.failure import Failure
from htcgrid_core.codecs import problems

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Guard:
    """A browser that was lured to another name for this address, or to another page, gets nowhere.

    Args:
        hosts: names under which clients know this server, without ports; ``*`` for any.
        origins: of pages that may ask, as ``https://HOST``; a page of a name in ``hosts`` may in any case.
    """

    def __init__(self, hosts: Collection[str], origins: Collection[str] = ()) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def check(self, request: Request) -> None:
        """Let a request pass.

        Raises:
            Failure: it is not for this server, or from elsewhere.
        """
        host = request.headers.get("host", "").lower()
        if not self._is_ours(_name(host)):
            raise Failure(problems.WRONG_HOST, "no server of this name is here: see htcgrid serve --allow-host")
        origin = request.headers.get("origin")
        if origin is None or self.allows(origin):
            return
        parts = urlsplit(origin.lower())
        if parts.scheme not in ("http", "https") or parts.netloc != host:
            raise Failure(problems.FORBIDDEN, "this page's origin may not ask: see htcgrid serve --allow-origin")

    @property
    def has_origins(self) -> bool:
        """Whether pages of other origins may ask."""
        return bool(self._origins)

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin were allowed to ask."""
        return origin.lower() in self._origins

    def _is_ours(self, name: str) -> bool:
        return name in self._hosts or ("*" in self._hosts and bool(name))


def _name(host: str) -> str:
    """Without the port."""
    head, colon, port = host.rpartition(":")
    return head if colon and port.isdecimal() else host
