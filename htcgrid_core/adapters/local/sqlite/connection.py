"""One thread's connection: whatever is raised in a call, and whenever, no transaction stays open and no lock held.

A KeyboardInterrupt comes between any two steps of Python code, also in an ``__exit__`` that is written in Python, and
so what must not be left half done is left to contexts that are written in C: of a lock, and of a connection.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from htcgrid_core.adapters.local.sqlite import forks
from htcgrid_core.adapters.locked import holding, is_mine

BUSY_SECONDS = 60.0
MEMORY = ":memory:"  # a database that exists once per connection

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class ThreadConnection:
    """A connection of one thread, opened when it is first used, and again after it was closed.

    It is closed with its thread, with its ``Database``, and before its process forks.
    """

    _opened: sqlite3.Connection | None = None

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.RLock()
        forks.hold_still(self)

    def opened(self) -> sqlite3.Connection:
        """SQLite's own connection."""
        if self._opened is None:
            self._opened = _open(self._path)
        return self._opened

    def call(self, work: Work[T]) -> T:
        """What ``work`` returns, called with SQLite's connection; no one closes it meanwhile."""
        lock = self._lock
        if is_mine(lock):  # a signal handler's, in the middle of another call
            return work(self.opened())
        try:  # as ``holding`` does: whatever a grid does comes through here
            with lock:
                connection = self._opened or self.opened()
                if connection.in_transaction:
                    connection.rollback()  # left by two exceptions, one raised while the other was dealt with
                return work(connection)
        except BaseException:
            if is_mine(lock):  # it was raised at the very end of the block
                lock.release()
            raise

    def transact(self, work: Work[T]) -> T:
        """As ``call``; what ``work`` writes is written whole, or not at all if it raises."""
        return self.call(partial(transaction, work))

    def close(self) -> None:
        """Close it once no call is under way."""
        if self._path != MEMORY:
            holding(self._lock, self._close)

    def _close(self) -> None:
        connection, self._opened = self._opened, None
        if connection is not None:
            connection.close()

    def __del__(self, forks_lock: threading.RLock = forks.lock) -> None:
        holding(forks_lock, self._close)  # a child that is forked meanwhile would find SQLite's own locks taken

    # Around a fork, for the thread that forks

    def hold(self, timeout_seconds: float) -> bool:
        """Keep calls from beginning, and close: SQLite's connections must not be carried across a fork.

        Returns:
            False if a call is under way and goes on.
        """
        if not self._lock.acquire(timeout=timeout_seconds):
            return False
        if self._opened is not None and self._opened.in_transaction:  # of the thread that forks
            self._lock.release()
            return False
        if self._path != MEMORY:
            self._close()
        return True

    def let_go(self) -> None:
        """After ``hold``."""
        self._lock.release()

    def forget(self) -> sqlite3.Connection | None:
        """In the child, what could not be held: its parent's connection, which must be neither used nor closed."""
        self._lock = threading.RLock()
        connection, self._opened = self._opened, None
        return connection


def transaction(work: Work[T], connection: sqlite3.Connection) -> T:
    """A write transaction; the lock that it begins with is waited for."""
    if connection.in_transaction:
        raise sqlite3.OperationalError("this thread is in the middle of another write")
    try:
        with connection:  # whose end takes back what is not committed then
            connection.execute("BEGIN IMMEDIATE")
            found = work(connection)
            connection.execute("COMMIT")  # unlike the one of the context, it is prepared once
            return found
    finally:
        if connection.in_transaction:  # an exception was raised at the very end of the block
            connection.rollback()


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 16000")  # pages; agents do it sooner, see Checkpoints
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch a new database to WAL; unlike other statements, this one does not wait while another process does so."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return
