"""Connections to one server: kept open, and lent to one request at a time. May be used from many threads."""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import threading
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING

from htcgrid_core.domain.errors import AccessDenied, GridUnavailable

if TYPE_CHECKING:
    from htcgrid_core.gateway.http.address import Address

CONNECT_SECONDS = 10.0
CONNECTIONS_KEPT = 16  # that nobody uses now
# What a connection that breaks raises; a server that answers nonsense, too.
BROKEN = (OSError, http.client.HTTPException)


class Connections:
    """Lends connections. After a fork the child makes its own."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._process = os.getpid()
        self._tls = ssl.create_default_context() if address.is_secure else None

    def kept(self) -> http.client.HTTPConnection | None:
        """A connection that was used before, and on which a server has said nothing since; None if there is none."""
        while True:
            with self._lock:
                if self._process != os.getpid():  # a parent's: its sockets are not ours to write to, or to close
                    self._idle, self._process = [], os.getpid()
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if _is_quiet(connection):
                return connection
            connection.close()

    def fresh(self) -> http.client.HTTPConnection:
        """A new one.

        Raises:
            AccessDenied: the server does not prove that it is who it should be.
            GridUnavailable: it cannot be reached.
        """
        connection = self._made()
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise AccessDenied(
                f"{self._address.url} does not prove that it is {self._address.host}: {error.verify_message}. A "
                "certificate of one's own authority is trusted if SSL_CERT_FILE names its file"
            ) from error
        except BROKEN as error:
            connection.close()
            raise GridUnavailable(f"{self._address.url} cannot be reached: {error}") from error
        return connection

    def _made(self) -> http.client.HTTPConnection:
        address = self._address
        host, port, tunnel = address.host, address.port, False
        if not address.is_loopback and (proxy := _proxy_of(address)):
            host, port, tunnel = *proxy, True
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=self._tls)
        if tunnel:
            connection.set_tunnel(address.host, address.port)
        return connection

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        """An answer was read to its end: the connection may serve others."""
        with self._lock:
            if connection.sock is not None and len(self._idle) < CONNECTIONS_KEPT and self._process == os.getpid():
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Let go of those that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def break_off(connection: http.client.HTTPConnection) -> None:
    """Let whoever reads from a connection see its end: for other threads."""
    if (sock := connection.sock) is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended by itself


def _is_quiet(connection: http.client.HTTPConnection) -> bool:
    """Whether nothing can be read, which on a connection that nobody uses would be its end."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)


def _proxy_of(address: Address) -> tuple[str, int] | None:
    """The proxy that the environment names for a server elsewhere."""
    proxies: Mapping[str, str] = urllib.request.getproxies()
    if "https" not in proxies or urllib.request.proxy_bypass(address.host):
        return None
    from urllib.parse import urlsplit

    parts = urlsplit(proxies["https"] if "//" in proxies["https"] else f"http://{proxies['https']}")
    return (parts.hostname, parts.port or 3128) if parts.hostname else None
