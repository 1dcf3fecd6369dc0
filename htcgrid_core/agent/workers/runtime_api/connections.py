"""The connections of one port of the Runtime API, as whoever serves it waits for them."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

from htcgrid_core.agent.workers.runtime_api.http import Connection, Request
from htcgrid_core.domain import limits, metrics
from htcgrid_core.ports.metrics import Metrics

CONNECTIONS = 16  # of one worker at once, for each invocation at once; clients need one or two
ACCEPTED_AT_ONCE = 64  # before others have their turn, however many knock
READS_AT_ONCE = 32  # of one large result, before others have their turn


def accepted(
    listener: socket.socket,
    known: dict[int, Connection],
    may: Callable[[socket.socket], bool],
    count: Metrics,
    at_once: int = 1,
) -> list[Connection]:
    """Take the connections that have come and add them to ``known``.

    Args:
        may: whether a connection is the client's; others are hung up on at once, and take nobody's place.
        count: told of those.
        at_once: invocations that clients may have.
    """
    found = []
    for _ in range(ACCEPTED_AT_ONCE):
        try:
            sock, _ = listener.accept()
        except OSError:  # there is none, or it hung up already
            break
        if len(known) >= CONNECTIONS * at_once or not may(sock):
            count.add(metrics.WORKER_VIOLATIONS, what="connection")
            sock.close()
            continue
        connection = Connection(sock, limits.MAX_RESULT_BYTES)
        known[connection.fileno()] = connection
        found.append(connection)
    return found


def next_request(connection: Connection) -> Request | None:
    """What has arrived whole on a connection that is ready; what waits to be sent goes first."""
    if connection.unsent:
        connection.flush()
    for _ in range(READS_AT_ONCE):
        request = connection.receive()
        if request is not None or connection.closed or connection.drained:
            return request
    return None


def late(known: dict[int, Connection], now: float) -> list[Connection]:
    """Those that hold a place and do not say what they want."""
    return [connection for connection in known.values() if connection.is_late(now)]


def awaited(connection: Connection) -> int:
    """What to wait for on a connection."""
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
