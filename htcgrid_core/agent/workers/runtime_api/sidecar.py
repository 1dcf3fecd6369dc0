"""One port of the Runtime API for a client that the agent did not start: a container beside it."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field

from htcgrid_core.agent.workers.runtime_api import peers
from htcgrid_core.agent.workers.runtime_api.connections import CONNECTIONS
from htcgrid_core.agent.workers.runtime_api.http import Connection
from htcgrid_core.agent.workers.runtime_api.invocation import Invocation
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.function import Package, SidecarPort

LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class Sidecar:
    """A port, and what is known of its client.

    Attributes:
        parked: the connection that waits for the next task.
        current: the task that it was given and has not answered.
        heard_at: when it last answered or began to wait; None if it is gone, or runs what nobody waits for any more.
        keeps: whether it was seen to use a connection for a second request, so that the end of one is its own end.
        problem: its last init error, or who was refused.
        users: who may be its client, by uid; None for whoever shares this machine, or this pod.
    """

    where: SidecarPort
    listener: socket.socket
    connections: dict[int, Connection] = field(default_factory=dict)
    parked: Connection | None = None
    current: Invocation | None = None
    heard_at: float | None = None
    keeps: bool = False
    problem: str = ""
    users: frozenset[int] | None = None

    @classmethod
    def listen(cls, where: SidecarPort, users: frozenset[int] | None = None) -> Sidecar:
        """Serve a port of the loopback interface, which containers of one pod share.

        Raises:
            GridUnavailable: it is taken, or may not be served.
        """
        try:
            listener = socket.create_server((LOOPBACK, where.port), backlog=CONNECTIONS)
        except OSError as error:
            raise GridUnavailable(
                f"port {where.port} for the sidecar of {where.name} cannot be served: {error}; is another agent on it?"
            ) from error
        listener.setblocking(False)
        return cls(where, listener, users=users)

    @property
    def address(self) -> str:
        """For people."""
        return f"{LOOPBACK}:{self.listener.getsockname()[1]}"

    @property
    def hosts(self) -> tuple[str, str]:
        """What its client may call this machine; a page in a browser has another name for it."""
        return self.address, self.address.replace(LOOPBACK, "localhost")

    def serves(self, package: Package) -> bool:
        """Whether it runs tasks of a deployed function."""
        return package.function == self.where.function and self.where.version in (None, package.version)

    def may(self, connection: socket.socket) -> bool:
        """Whether a connection may be its client's: never one of this agent's own workers, nor of a user not named."""
        if not peers.CAN_TELL:
            return True
        peer = peers.peer_of(connection)
        if peer is None or peers.is_held_by(peer, os.getpid(), itself=False):
            return False
        if self.users is not None and peer.uid not in self.users:
            self.problem = f"a client of user {peer.uid} was refused"
            return False
        return True

    def is_there(self, now: float) -> bool:
        """Whether its client waits, runs a task, or has just answered one and will ask for the next."""
        if self.parked is not None or self.current is not None:
            return True
        return self.heard_at is not None and now - self.heard_at < limits.SIDECAR_RETURN_SECONDS

    def heard(self) -> None:
        """Its client lives, and does what it should."""
        self.heard_at = time.monotonic()
        self.problem = ""

    def gone(self) -> None:
        """Its client has ended, or may as well have, until it asks for a task again."""
        self.current = self.heard_at = None
        self.keeps = False
