"""The audit log on SQLite: one table, of which triggers keep rows from being changed, or deleted before their time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from htcgrid_core.adapters.local.sqlite import rows
from htcgrid_core.adapters.local.sqlite.database import Database, reads, writes
from htcgrid_core.domain import limits
from htcgrid_core.domain.audit import AuditEntry, AuditPage, actor_text

AT_ONCE = 1000  # rows that one transaction deletes, or one call reads
_ORDER = "(at, session_id, seq)"
_NEWEST = "at DESC, session_id DESC, seq DESC"


class SqliteAuditLog:
    """Entries of one database.

    Args:
        kept_seconds: how long entries are kept, also of sessions that are gone.
    """

    def __init__(self, database: Database, kept_seconds: float = limits.AUDIT_SECONDS) -> None:
        self._database = database
        self._kept_seconds = kept_seconds

    @writes
    def append(self, db: sqlite3.Connection, entry: AuditEntry, token: str) -> None:
        """Add an entry. A write of this database has happened or not once it returns, so that none is repeated."""
        db.execute(
            "INSERT INTO audit (session_id, seq, at, actor, event, before, after, detail) VALUES"
            " (?1, coalesce((SELECT max(seq) FROM audit WHERE session_id = ?1), 0) + 1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                entry.session_id, entry.at, actor_text(entry.actor, entry.address), entry.event, entry.before,
                entry.after, entry.detail,
            ),
        )  # fmt: skip

    @reads
    def of_session(self, db: sqlite3.Connection, session_id: str) -> list[AuditEntry]:
        """A session's entries, oldest first."""
        found = db.execute(
            f"SELECT {rows.AUDIT_COLUMNS} FROM audit WHERE session_id = ? ORDER BY seq", (session_id,)
        ).fetchall()
        return [rows.audit_of(row) for row in found]

    def entries(self, since: float, until: float, limit: int, cursor: str | None = None) -> AuditPage:
        """Entries of a time, newest first."""
        found = self._page(since, until, limit, cursor, "")
        more = _cursor(found[-1]) if len(found) == limit else None
        return AuditPage([rows.audit_of(row[:-1]) for row in found], more)

    def ends(self, since: float, until: float) -> Iterator[AuditEntry]:
        """Ends of sessions of a time, newest first."""
        cursor: str | None = None
        while found := self._page(since, until, AT_ONCE, cursor, " AND spent IS NOT NULL"):
            yield from (rows.audit_of(row[:-1]) for row in found)
            if len(found) < AT_ONCE:
                return
            cursor = _cursor(found[-1])

    @reads
    def _page(
        self, db: sqlite3.Connection, since: float, until: float, limit: int, cursor: str | None, only: str
    ) -> list[tuple[object, ...]]:
        behind, last = ("", ()) if cursor is None else (f" AND {_ORDER} < (?, ?, ?)", tuple(json.loads(cursor)))
        until = min(until, last[0]) if last else until
        bound = "<=" if last else "<"
        return db.execute(
            f"SELECT {rows.AUDIT_COLUMNS}, seq FROM audit WHERE at >= ? AND at {bound} ?{only}{behind}"
            f" ORDER BY {_NEWEST} LIMIT ?",
            (since, until, *last, limit),
        ).fetchall()

    def prune(self, now: float) -> int:
        """Delete what is older than it is kept. It is looked for in passing: nobody who writes waits for that."""
        deleted, last = 0, (float("-inf"), "", 0)
        while found := self._old(now, last):
            self._delete(now, found)
            deleted, last = deleted + len(found), found[-1]
        return deleted

    @reads
    def _old(self, db: sqlite3.Connection, now: float, last: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """What costs are made of is kept as long as these, whatever the setting."""
        before, before_spent = now - self._kept_seconds, now - max(self._kept_seconds, limits.COSTS_SECONDS)
        return db.execute(
            "SELECT at, session_id, seq FROM audit WHERE at >= ? AND at < ? AND (spent IS NULL OR at < ?)"
            f" AND {_ORDER} > (?, ?, ?) AND NOT EXISTS (SELECT 1 FROM sessions WHERE id = session_id)"
            f" ORDER BY at, session_id, seq LIMIT {AT_ONCE}",
            (last[0], before, before_spent, *last),
        ).fetchall()

    @writes
    def _delete(self, db: sqlite3.Connection, now: float, found: list[tuple[Any, ...]]) -> None:
        db.execute("UPDATE audit_kept SET since = max(since, ?)", (now - self._kept_seconds,))
        db.executemany("DELETE FROM audit WHERE session_id = ? AND seq = ?", [each[1:] for each in found])


def _cursor(row: tuple[object, ...]) -> str:
    return json.dumps([row[0], row[1], row[-1]])
