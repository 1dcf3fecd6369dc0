"""Forks: none happens while a thread of this process is in SQLite, and no connection is carried across one.

A child has the forking thread only, but all memory: a lock of SQLite's that another thread had would stay taken in it
for ever, and what SQLite believes to have locked in the file is locked by its parent alone.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol

from htcgrid_core.adapters.locked import holding

HOLD_SECONDS = 10.0  # a call that takes longer waits for another process's lock, and is in none of SQLite's own

lock = threading.RLock()
"""Of those who close a connection that nobody uses any more, and of the set of connections."""


class Holdable(Protocol):
    """A connection, as it is treated by the thread that forks."""

    def hold(self, timeout_seconds: float) -> bool:
        """Keep calls from beginning, and close; False if a call is under way and goes on."""

    def let_go(self) -> None:
        """After ``hold``."""

    def forget(self) -> object:
        """In the child, what could not be held."""


_turn = threading.RLock()  # of threads that fork
_connections: weakref.WeakSet[Holdable] = weakref.WeakSet()
_held: list[Holdable] = []
_forgotten: list[object] = []  # of a parent: closing one would touch what the parent uses


def hold_still(connection: Holdable) -> None:
    """Hold a connection still around each fork from now on."""
    holding(lock, lambda: _connections.add(connection))


def _before() -> None:
    """Hold all connections, and at last the lock: whoever is in a call may have to close others meanwhile."""
    _turn.acquire()
    until = time.monotonic() + HOLD_SECONDS
    tried: set[Holdable] = set()
    while True:
        lock.acquire()
        new = set(_connections) - tried
        if not new:
            return
        lock.release()
        _held.extend(connection for connection in new if connection.hold(max(0.0, until - time.monotonic())))
        tried |= new


def _in_parent() -> None:
    while _held:
        _held.pop().let_go()
    lock.release()
    _turn.release()


def _in_child() -> None:
    _forgotten.extend(connection.forget() for connection in set(_connections) - set(_held))
    _in_parent()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
