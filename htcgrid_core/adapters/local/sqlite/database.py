"""A database file: a connection for each thread that uses it, and SQLite's errors as the grid's."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from htcgrid_core.adapters.local.sqlite.connection import MEMORY, ThreadConnection, Work
from htcgrid_core.adapters.local.sqlite.migrations import bring_up_to_date
from htcgrid_core.domain.errors import GridUnavailable, IncompatibleGrid


class OfDatabase(Protocol):
    """A part of the store."""

    _database: Database


P = ParamSpec("P")
T = TypeVar("T")
Part = TypeVar("Part", bound=OfDatabase)


def reads(
    method: Callable[Concatenate[Part, sqlite3.Connection, P], T],
) -> Callable[Concatenate[Part, P], T]:
    """A method of one reading statement, which is given the connection."""

    @wraps(method)
    def call(self: Part, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._database.read(lambda db: method(self, db, *args, **kwargs))

    return call


def writes(
    method: Callable[Concatenate[Part, sqlite3.Connection, P], T],
) -> Callable[Concatenate[Part, P], T]:
    """A method that is one write transaction, and is given its connection."""

    @wraps(method)
    def call(self: Part, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._database.write(lambda db: method(self, db, *args, **kwargs))

    return call


class Database:
    """The connections of this process to one database file."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self._local = threading.local()
        self._connections: weakref.WeakSet[ThreadConnection] = weakref.WeakSet()
        self._shared = self._connection() if self.path == MEMORY else None
        if self.path != MEMORY:
            self._make_private()
        try:
            self.read(lambda connection: bring_up_to_date(connection, self.path))
        except BaseException:
            self.close()
            raise

    def read(self, work: Work[T]) -> T:
        """What ``work`` returns, which is given this thread's connection for one statement."""
        try:
            return self._connection().call(work)
        except sqlite3.Error as error:
            self.raise_for(error)
            raise

    def write(self, work: Work[T]) -> T:
        """What ``work`` returns, which is given the connection of a write transaction: it is whole, or nothing.

        It survives the death of any process; ``sync`` makes it survive a power failure.
        """
        try:
            return self._connection().transact(work)
        except sqlite3.Error as error:
            self.raise_for(error)
            raise

    def sync(self) -> None:
        """Return once everything committed so far is on the disk.

        What is committed is in the write-ahead log, or was moved (and synced) from there into the database; so
        syncing the log is all that "PRAGMA synchronous = FULL" adds to a commit, done here without its lock.
        """
        if self._shared is not None:
            return
        try:
            fd = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # the last connection checkpointed it, which syncs
        try:
            os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)
        except OSError as error:
            raise GridUnavailable(f"{self.path}: cannot be written to the disk: {error}") from error
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the connections of all threads, each once its call is over; a thread that goes on opens a new one."""
        for connection in list(self._connections):
            connection.close()

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, for tests."""
        return self._connection().opened()

    def _connection(self) -> ThreadConnection:
        found: ThreadConnection | None = getattr(self._local, "connection", None)
        if found is None:
            found = getattr(self, "_shared", None) or ThreadConnection(self.path)
            self._connections.add(found)
            self._local.connection = found
        return found

    def _make_private(self) -> None:
        """Make a new file readable by its owner only; SQLite's files beside it take after it.

        An existing one is not even opened: closing it again would drop the locks of this process's connections.
        """
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise GridUnavailable(f"{self.path} cannot be opened or made: {error}") from error

    def raise_for(self, error: BaseException) -> None:
        """Raise what SQLite's errors mean to a grid; return for any other, which is raised as it is."""
        match error:
            case sqlite3.IntegrityError() | sqlite3.ProgrammingError():
                return
            case sqlite3.OperationalError():
                raise GridUnavailable(f"{self.path}: {error}; is the disk full or the folder read-only?") from error
            case sqlite3.DatabaseError():
                raise IncompatibleGrid(f"{self.path} is not a database of this grid: {error}") from error
