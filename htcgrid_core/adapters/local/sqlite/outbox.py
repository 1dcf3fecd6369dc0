"""The outbox on SQLite."""

from __future__ import annotations

import sqlite3

from htcgrid_core.adapters.local.sqlite.database import Database, reads, writes
from htcgrid_core.adapters.outbox_rows import row_of, text_of
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.notification import Due, Notification

_COLUMNS = "session_id, recipient, version, body"


class SqliteOutbox:
    """Rows by session and recipient, and destinations by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @reads
    def get(self, db: sqlite3.Connection, session_id: str, to: str) -> Notification | None:
        """One row."""
        row = db.execute(
            f"SELECT {_COLUMNS} FROM notifications WHERE session_id = ? AND recipient = ?", (session_id, to)
        ).fetchone()
        return None if row is None else row_of(*row)

    @reads
    def of(self, db: sqlite3.Connection, session_id: str) -> list[Notification]:
        """All rows of a session."""
        rows = db.execute(f"SELECT {_COLUMNS} FROM notifications WHERE session_id = ?", (session_id,)).fetchall()
        return [row_of(*row) for row in rows]

    @reads
    def pending(self, db: sqlite3.Connection) -> list[Due]:
        """Rows that are not settled."""
        rows = db.execute(
            "SELECT session_id, recipient, due_at FROM notifications WHERE due_at IS NOT NULL ORDER BY due_at"
        ).fetchall()
        return [Due(*row) for row in rows]

    @writes
    def replace(self, db: sqlite3.Connection, before: Notification | None, after: Notification) -> bool:
        """Write ``after`` in the place of ``before``, or of nothing; False if another row is there by now."""
        due_at = None if after.is_settled else after.due_at
        key, values = (after.session_id, after.to), (after.version, due_at, text_of(after))
        if before is None:
            written = db.execute(
                "INSERT OR IGNORE INTO notifications (session_id, recipient, version, due_at, body)"
                " VALUES (?, ?, ?, ?, ?)",
                (*key, *values),
            )
        else:
            written = db.execute(
                "UPDATE notifications SET version = ?, due_at = ?, body = ?"
                " WHERE session_id = ? AND recipient = ? AND version = ?",
                (*values, *key, before.version),
            )
        if written.rowcount:
            return True
        found = db.execute("SELECT version FROM notifications WHERE session_id = ? AND recipient = ?", key)
        return bool(found.fetchone() == (after.version,))

    @reads
    def destination(self, db: sqlite3.Connection, name: str) -> Destination | None:
        """A destination by its name."""
        row = db.execute("SELECT body FROM destinations WHERE name = ?", (name,)).fetchone()
        return None if row is None else Destination.stored(row[0])

    @reads
    def destinations(self, db: sqlite3.Connection) -> list[Destination]:
        """All of them, by name."""
        rows = db.execute("SELECT body FROM destinations ORDER BY name").fetchall()
        return [Destination.stored(body) for (body,) in rows]

    @writes
    def put_destination(self, db: sqlite3.Connection, destination: Destination) -> None:
        """Register a destination, in the place of one with the same name."""
        db.execute(
            "INSERT OR REPLACE INTO destinations (name, body) VALUES (?, ?)",
            (destination.name, destination.model_dump_json()),
        )

    @writes
    def remove_destination(self, db: sqlite3.Connection, name: str) -> bool:
        """Forget a destination."""
        return bool(db.execute("DELETE FROM destinations WHERE name = ?", (name,)).rowcount)
