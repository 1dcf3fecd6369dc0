"""SQLite connections: one per thread and process, WAL mode, write transactions that take their lock first."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from htcgrid_core.domain.errors import GridUnavailable, IncompatibleGrid

SCHEMA_VERSION = 4
BUSY_SECONDS = 60.0

# Each table or index that a short session touches is one more page of a commit: small rows are in the tree of their
# primary key. Bytes come last in theirs, where whoever reads the other columns passes them by.
SCHEMA = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    live INTEGER NOT NULL DEFAULT 1,
    spec TEXT NOT NULL,
    name TEXT NOT NULL,
    total INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    submitted_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    ended_at REAL,
    deadline_at REAL,
    retention_seconds REAL NOT NULL,
    expires_at REAL,
    tolerated INTEGER,
    bundles INTEGER NOT NULL DEFAULT -1,
    digest TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    owner TEXT NOT NULL DEFAULT '',
    pool TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_live ON sessions(id) WHERE live = 1;
CREATE INDEX sessions_submitted ON sessions(submitted_at);
CREATE INDEX sessions_expiry ON sessions(expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE blocks (
    session_id TEXT NOT NULL,
    root INTEGER NOT NULL,
    first_index INTEGER NOT NULL,
    count INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    blob_key TEXT,
    blob_at INTEGER,
    size INTEGER NOT NULL,
    data BLOB,
    UNIQUE (session_id, root)
);

CREATE TABLE bundles (
    session_id TEXT NOT NULL,
    id TEXT NOT NULL,
    root INTEGER NOT NULL,
    parent TEXT,
    pool TEXT NOT NULL,
    state TEXT NOT NULL,
    tasks TEXT NOT NULL,
    crashes INTEGER NOT NULL,
    not_before REAL NOT NULL,
    rank REAL NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    token TEXT,
    owner TEXT,
    lease_until REAL,
    PRIMARY KEY (session_id, id)
) WITHOUT ROWID;
CREATE INDEX bundles_ready ON bundles(pool, rank) WHERE state = 'READY';
CREATE INDEX bundles_delayed ON bundles(pool, not_before) WHERE state = 'READY' AND not_before > 0;
CREATE INDEX bundles_lapsed ON bundles(pool, lease_until) WHERE state = 'LEASED';
CREATE INDEX bundles_parent ON bundles(session_id, parent) WHERE parent IS NOT NULL;

CREATE TABLE outcomes (
    seq INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL,
    root INTEGER NOT NULL,
    bundle_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    agent TEXT NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    blob_key TEXT,
    size INTEGER NOT NULL,
    data BLOB
);
CREATE INDEX outcomes_session ON outcomes(session_id, seq);
CREATE INDEX outcomes_root ON outcomes(session_id, root, seq);
CREATE INDEX outcomes_failed ON outcomes(session_id, seq) WHERE failed > 0;

CREATE TABLE agents (
    id TEXT PRIMARY KEY, pool TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
    slots INTEGER NOT NULL, busy INTEGER NOT NULL, beat_at REAL NOT NULL, problem TEXT NOT NULL
);

CREATE TABLE audit (
    session_id TEXT NOT NULL, seq INTEGER NOT NULL,
    at REAL NOT NULL, actor TEXT NOT NULL,
    event TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (session_id, seq)
) WITHOUT ROWID;
CREATE TRIGGER audit_append_only BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
"""


class Database:
    """The connections of this process to one database file."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self._local = threading.local()
        self._statement = Statement(self)
        self._shared: sqlite3.Connection | None = None  # ":memory:" exists once per connection
        try:
            self._migrate()
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

    def _migrate(self) -> None:
        if self.path != ":memory:":
            self._make_private()
        connection = self._open()
        if self.path == ":memory:":
            self._shared = connection
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:  # whoever got the lock first makes the tables
                for statement in _statements(SCHEMA):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                version = SCHEMA_VERSION
            connection.execute("COMMIT")
        if self._shared is None:
            connection.close()
        if version != SCHEMA_VERSION:
            raise IncompatibleGrid(
                f"{self.path} was written by another version of htcgrid (its schema is {version}, this one knows "
                f"{SCHEMA_VERSION}): use that version, or another directory"
            )

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


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for part in script.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" ;\n"):
                yield statement
            statement = ""
