"""Transitions and expiry of sessions on SQLite."""

from __future__ import annotations

import sqlite3

from htcgrid_core.adapters.local.sqlite import statements
from htcgrid_core.adapters.local.sqlite.database import Database, reads, writes
from htcgrid_core.domain.audit import ADOPT, DELETE
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import SUBMITTER, Deleted, not_finished, on_hold


class Ending:
    """What becomes of a session after its acknowledgement, apart from commits."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @writes
    def adopt(
        self, db: sqlite3.Connection, session_id: str, owner: str, now: float, *, actor: str = SUBMITTER
    ) -> SessionRecord:
        """Make ``owner`` the session's owner; return the row as it then is. One that has ended keeps its owner."""
        changed = db.execute(
            "UPDATE sessions SET owner = ?, updated_at = ? WHERE id = ? AND live = 1 AND owner <> ?1",
            (owner, now, session_id),
        ).rowcount
        record = statements.session(db, session_id)
        if changed:
            statements.audit(db, now, session_id, actor, ADOPT, record.state, record.state, owner)
        return record

    @writes
    def advance(
        self,
        db: sqlite3.Connection,
        session_id: str,
        event: SessionEvent,
        *,
        now: float,
        actor: str,
        reason: str = "",
        owner: str | None = None,
    ) -> SessionRecord:
        """Apply ``event`` if the lifecycle allows it in the state the row is in; return the row as it then is."""
        record = statements.session(db, session_id)
        if record.damage:
            return statements.replace_unreadable(db, record, now, actor)
        if record.ended or record.state is SESSION.target(event) or owner not in (None, record.owner):
            return record
        after = SESSION.advance(record.state, event)
        if SESSION.is_terminal(after):
            return statements.end(db, record, event, now, actor, reason)
        db.execute(
            "UPDATE sessions SET state = ?, reason = ?, updated_at = ? WHERE id = ?",
            (after, reason, now, session_id),
        )
        statements.audit(db, now, session_id, actor, event, record.state, after, reason)
        return statements.session(db, session_id)

    def expire(self, now: float, limit: int) -> list[Deleted]:
        """Delete ended sessions whose retention has passed; their blobs are the caller's."""
        return self._expire(now, limit) if self._has_expired(now) else []

    @reads
    def _has_expired(self, db: sqlite3.Connection, now: float) -> bool:
        first = "SELECT 1 FROM sessions INDEXED BY sessions_expiry WHERE expires_at <= ? LIMIT 1"
        return db.execute(first, (now,)).fetchone() is not None

    @writes
    def _expire(self, db: sqlite3.Connection, now: float, limit: int) -> list[Deleted]:
        found = db.execute(
            "SELECT id FROM sessions WHERE expires_at <= ? AND held = '' LIMIT ?", (now, limit)
        ).fetchall()
        return [_delete(db, statements.session(db, session_id), now, "grid") for (session_id,) in found]

    @writes
    def delete(
        self, db: sqlite3.Connection, session_id: str, folder: str, now: float, *, actor: str, reason: str = ""
    ) -> None:
        """Delete one that has ended, before its time; its blobs are the caller's."""
        record = statements.session(db, session_id)
        if record.folder != folder:
            raise SessionNotFound(session_id)
        if not record.ended:
            raise not_finished(record)
        if record.held:
            raise on_hold(session_id, record.held)
        _delete(db, record, now, actor, reason)


def _delete(db: sqlite3.Connection, record: SessionRecord, now: float, actor: str, reason: str = "") -> Deleted:
    session_id = record.session_id
    statements.audit(db, now, session_id, actor, DELETE, record.state, "", reason)
    statements.delete(db, session_id)
    db.execute("DELETE FROM notifications WHERE session_id = ? AND due_at IS NULL", (session_id,))
    return Deleted(session_id, record.folder)
