"""From an older version of the local database to this release's, one step after the other.

The version is SQLite's ``user_version``. Each step is one write transaction together with the new version, so that a
process that dies leaves the version before or the one after, and of several that open a database at once one takes the
step and the others find it taken. The table ``migrations`` tells which release took which step, and the oldest that may
use what came of it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping

from htcgrid_core.adapters.local.sqlite.connection import transaction
from htcgrid_core.adapters.local.sqlite.schema import (
    AUDIT_KEPT,
    HELD_STAY,
    NUMBERED_ENDS,
    OLDEST_MIGRATED,
    OLDEST_READER,
    SCHEMA,
    SCHEMA_VERSION,
)
from htcgrid_core.domain.errors import IncompatibleGrid
from htcgrid_core.domain.version import __version__

STEPS: Mapping[int, str] = {
    4: """
        ALTER TABLE sessions ADD COLUMN task_seconds REAL NOT NULL DEFAULT 0;
        CREATE TABLE migrations (
            version INTEGER PRIMARY KEY, oldest_reader INTEGER NOT NULL, release TEXT NOT NULL, at REAL NOT NULL
        );
    """,
    5: f"""
        ALTER TABLE sessions ADD COLUMN end_number INTEGER;
        {NUMBERED_ENDS}
        WITH ordered AS (
            SELECT id, row_number() OVER (ORDER BY ended_at, id) AS number FROM sessions WHERE live = 0
        )
        UPDATE sessions SET end_number = (SELECT number FROM ordered WHERE ordered.id = sessions.id) WHERE live = 0;
    """,
    6: """
        CREATE TABLE notifications (
            session_id TEXT NOT NULL, recipient TEXT NOT NULL, version TEXT NOT NULL, due_at REAL, body TEXT NOT NULL,
            PRIMARY KEY (session_id, recipient)
        ) WITHOUT ROWID;
        CREATE INDEX notifications_due ON notifications(due_at) WHERE due_at IS NOT NULL;
        CREATE TABLE destinations (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
    """,
    7: """
        ALTER TABLE sessions ADD COLUMN retrying INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE agents ADD COLUMN begun TEXT;
        CREATE TABLE attempts (
            session_id TEXT NOT NULL, bundle_id TEXT NOT NULL, data BLOB NOT NULL,
            PRIMARY KEY (session_id, bundle_id)
        ) WITHOUT ROWID;
    """,
    8: f"""
        ALTER TABLE sessions ADD COLUMN commits INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE sessions ADD COLUMN input_bytes INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE sessions ADD COLUMN output_bytes INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE sessions ADD COLUMN output_blobs INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE audit ADD COLUMN spent TEXT;
        {AUDIT_KEPT}
    """,
    9: """
        CREATE TABLE pools (pool TEXT PRIMARY KEY, memory_mb INTEGER, cpus REAL) WITHOUT ROWID;
        CREATE TABLE usage (
            function TEXT NOT NULL, agent TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (function, agent)
        ) WITHOUT ROWID;
    """,
    10: """
        ALTER TABLE agents ADD COLUMN started_at REAL;
        ALTER TABLE agents ADD COLUMN memory_bytes INTEGER;
        ALTER TABLE agents ADD COLUMN memory_limit_bytes INTEGER;
    """,
    11: "ALTER TABLE sessions ADD COLUMN folder TEXT NOT NULL DEFAULT '';",
    12: f"""
        ALTER TABLE sessions ADD COLUMN held TEXT NOT NULL DEFAULT '';
        {HELD_STAY}
    """,
}
"""What makes of each version the one after it."""


def bring_up_to_date(connection: sqlite3.Connection, path: str) -> None:
    """Make the tables of a new database, or migrate those of an older one.

    Raises:
        IncompatibleGrid: the database is of a release that this one cannot work beside; it was not changed.
    """
    while (version := version_of(connection)) != SCHEMA_VERSION:
        if objection := objection_to(connection, path):
            raise IncompatibleGrid(f"{objection}: use that version, or another directory")
        if version > SCHEMA_VERSION:
            return
        transaction(_take_a_step, connection)


def objection_to(connection: sqlite3.Connection, path: str) -> str:
    """Why this release may not use a database; empty if it may."""
    version = version_of(connection)
    if version == 0 or OLDEST_MIGRATED <= version <= SCHEMA_VERSION:
        return ""
    if version < OLDEST_MIGRATED:
        return (
            f"{path} was written by an early version of htcgrid: its schema is {version}, and this one "
            f"({__version__}) knows {SCHEMA_VERSION} and migrates from {OLDEST_MIGRATED} on"
        )
    release, oldest_reader = _origin(connection, version)
    if oldest_reader <= SCHEMA_VERSION:
        return ""
    return (
        f"{path} was written by {release}: its schema is {version}, and this one ({__version__}) knows {SCHEMA_VERSION}"
    )


def version_of(connection: sqlite3.Connection) -> int:
    """The schema that a database has; 0 if it is empty."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _take_a_step(connection: sqlite3.Connection) -> None:
    version = version_of(connection)  # whoever got the lock first has taken the step
    if version < SCHEMA_VERSION:
        script, reached = (STEPS[version], version + 1) if version else (SCHEMA, SCHEMA_VERSION)
        for statement in _statements(script):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO migrations (version, oldest_reader, release, at) VALUES (?, ?, ?, ?)",
            (reached, OLDEST_READER, __version__, time.time()),
        )
        connection.execute(f"PRAGMA user_version = {reached}")


def _origin(connection: sqlite3.Connection, version: int) -> tuple[str, int]:
    """The release that made a version of a database, and the lowest schema whose releases may use it."""
    try:
        found = connection.execute(
            "SELECT release, oldest_reader FROM migrations WHERE version = ?", (version,)
        ).fetchone()
    except sqlite3.OperationalError:  # it has no such table
        found = None
    return (f"htcgrid {found[0]}", found[1]) if found else ("a newer version of htcgrid", version)


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for part in script.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" ;\n"):
                yield statement
            statement = ""
