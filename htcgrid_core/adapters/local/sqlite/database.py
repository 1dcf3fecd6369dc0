"""SQLite connections: one per thread and process, WAL mode, write transactions that take their lock first."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from types import TracebackType

from htcgrid_core.adapters.local.sqlite.migrations import bring_up_to_date
from htcgrid_core.domain.errors import GridUnavailable, IncompatibleGrid

BUSY_SECONDS = 60.0


class Database:
    """The connections of this process to one database file."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self._local = threading.local()
        self._statement = Statement(self)
        self._shared: sqlite3.Connection | None = None  # ":memory:" exists once per connection
        try:
            self._bring_up_to_date()
        except sqlite3.Error as error:
            self.raise_for(error)
            raise

    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        if self._shared is not None:
            return self._shared
        held: tuple[int, sqlite3.Connection] | None = getattr(self._local, "held", None)
        if held is None or held[0] != os.getpid():  # a connection must not be carried across a fork
            held = (os.getpid(), self._open())
            self._local.held = held
        return held[1]

    def read(self) -> Statement:
        """A connection for one statement."""
        return self._statement

    def write(self) -> Transaction:
        """A write transaction. It survives the death of any process; ``sync`` makes it survive a power failure."""
        return Transaction(self)

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
        """Close this thread's connection."""
        held: tuple[int, sqlite3.Connection] | None = getattr(self._local, "held", None)
        if held is not None and held[0] == os.getpid():
            held[1].close()
            self._local.held = None

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 16000")  # pages; agents do it sooner, see Checkpoints
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection

    def _bring_up_to_date(self) -> None:
        if self.path != ":memory:":
            self._make_private()
        connection = self._open()
        if self.path == ":memory:":
            self._shared = connection
        try:
            bring_up_to_date(connection, self.path)
        finally:
            if self._shared is None:
                connection.close()

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


class Statement:
    """A context in which SQLite's errors are the grid's. A class, since a generator takes its time with each."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        try:
            return self._database.connection()
        except sqlite3.Error as error:
            self._database.raise_for(error)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._database.raise_for(error)


class Transaction:
    """What is written in it is written whole at its end, or not at all if it raises."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._connection = self._database.connection()
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._database.raise_for(error)
            raise
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._connection.execute("COMMIT" if error is None else "ROLLBACK")
        except sqlite3.Error as second:
            self._database.raise_for(second)
            raise
        if error is not None:
            self._database.raise_for(error)


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
