"""The connections of one port of the Runtime API, as whoever serves it waits for them."""

from __future__ import annotations

import selectors
import socket

from htcgrid_core.agent.workers.runtime_api.http import Connection, Request
from htcgrid_core.domain import limits

CONNECTIONS = 16  # of one worker at once; clients need one
READS_AT_ONCE = 32  # of one large result, before others have their turn


def accepted(listener: socket.socket, known: dict[int, Connection]) -> Connection | None:
    """Take a connection and add it to ``known``; None if it hung up already, or there are too many."""
    try:
        sock, _ = listener.accept()
    except OSError:
        return None
    if len(known) >= CONNECTIONS:
        sock.close()
        return None
    connection = Connection(sock, limits.MAX_RESULT_BYTES)
    known[connection.fileno()] = connection
    return connection


def next_request(connection: Connection) -> Request | None:
    """What has arrived whole on a connection that is ready; what waits to be sent goes first."""
    if connection.unsent:
        connection.flush()
    for _ in range(READS_AT_ONCE):
        request = connection.receive()
        if request is not None or connection.closed or connection.drained:
            return request
    return None


def awaited(connection: Connection) -> int:
    """What to wait for on a connection."""
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
