"""Parts of an upload that go straight into the grid's storage, past the server that gave the URL for each."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from htcgrid_core.domain.errors import AccessDenied, GridUnavailable
from htcgrid_core.gateway.http.address import parse_http
from htcgrid_core.gateway.http.connections import BROKEN, Connections
from htcgrid_core.gateway.http.retries import Retries

ANSWER_SECONDS = 60.0  # without a byte of an answer
BEAR_SECONDS = 20.0  # for which one part is put again; then parts go through the server, which bears longer


@dataclass(frozen=True, slots=True)
class DirectPut:
    """One part to put.

    Attributes:
        url: a secret, for this part alone.
        headers: which the URL's signature binds.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Storage:
    """Puts parts, over connections that are kept. May be used from many threads."""

    def __init__(self) -> None:
        self._connections: dict[str, Connections] = {}

    def put(self, part: DirectPut) -> None:
        """Put a part; again while what went wrong may pass.

        Raises:
            AccessDenied: the storage refuses it, as it does once the URL has expired.
            GridUnavailable: it cannot be reached, or is not ready for it.
            UnknownGrid: the URL is none by which data may be sent.
        """
        retries = Retries(BEAR_SECONDS)
        while True:
            try:
                return self._put(part)
            except GridUnavailable as error:
                time.sleep(retries.pause_after(error))

    def _put(self, part: DirectPut) -> None:
        parts = urlsplit(part.url)
        origin = f"{parts.scheme}://{parts.netloc}"
        connections = self._connections.get(origin)
        if connections is None:
            connections = self._connections.setdefault(origin, Connections(parse_http(origin)))
        connection = connections.kept() or connections.fresh()
        try:
            assert connection.sock is not None
            connection.sock.settimeout(ANSWER_SECONDS)
            connection.request("PUT", f"{parts.path}?{parts.query}", part.body, dict(part.headers))
            answer = connection.getresponse()
            answer.read()
        except BROKEN as error:
            connection.close()
            raise GridUnavailable(f"the connection to {origin} broke: {type(error).__name__}: {error}") from error
        _give_back(connections, connection, answer)
        if answer.status == http.client.FORBIDDEN:
            raise AccessDenied(f"{origin} refuses a part: the URL has expired, or is not for these bytes")
        if answer.status >= 300:  # a checksum that is wrong, too: the bytes were damaged on their way
            raise GridUnavailable(f"{origin} answers a part with status {answer.status}")

    def close(self) -> None:
        """Let go of the connections."""
        for connections in self._connections.values():
            connections.close()


def _give_back(
    connections: Connections, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
) -> None:
    if answer.will_close:
        connection.close()
    else:
        connections.give_back(connection)
