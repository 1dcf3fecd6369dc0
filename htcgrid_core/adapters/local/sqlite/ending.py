"""Transitions and expiry of sessions on SQLite."""

from __future__ import annotations

from htcgrid_core.adapters.local.sqlite import rows, statements
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.bundle_queue import Hint


class Ending:
    """The part of the store that ends and forgets sessions."""

    _database: Database

    def adopt(self, session_id: str, owner: str, now: float) -> SessionRecord:
        """Make ``owner`` the session's owner; return the row as it then is. One that has ended keeps its owner."""
        with self._database.write() as db:
            db.execute(
                "UPDATE sessions SET owner = ?, updated_at = ? WHERE id = ? AND live = 1 AND owner <> ?1",
                (owner, now, session_id),
            )
            return statements.session(db, session_id)

    def advance(
        self,
        session_id: str,
        event: SessionEvent,
        *,
        now: float,
        actor: str,
        reason: str = "",
        owner: str | None = None,
    ) -> SessionRecord:
        """Apply ``event`` if the lifecycle allows it in the state the row is in; return the row as it then is."""
        with self._database.write() as db:
            record = statements.session(db, session_id)
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

    def has_live_lease(self, session_id: str, now: float) -> bool:
        """Whether any agent may still be running tasks of this session."""
        with self._database.read() as db:
            found = db.execute(
                "SELECT 1 FROM bundles WHERE session_id = ? AND state = 'LEASED' AND lease_until > ? LIMIT 1",
                (session_id, now),
            ).fetchone()
        return found is not None

    def live_sessions(self) -> list[SessionRecord]:
        """Sessions that have not ended."""
        with self._database.read() as db:
            found = db.execute(
                f"SELECT {rows.SESSION_COLUMNS} FROM sessions INDEXED BY sessions_live WHERE live = 1"
            ).fetchall()
        return [rows.session_of(row) for row in found]

    def runnable(self, session_id: str, now: float, limit: int) -> list[Hint]:
        """Bundles that are ready or whose lease has lapsed, and since when."""
        with self._database.read() as db:
            found = db.execute(
                "SELECT session_id, id, CASE state WHEN 'LEASED' THEN lease_until ELSE not_before END"
                " FROM bundles WHERE session_id = ?"
                " AND ((state = 'READY' AND not_before <= ?2) OR (state = 'LEASED' AND lease_until <= ?2))"
                " ORDER BY rank LIMIT ?3",
                (session_id, now, limit),
            ).fetchall()
        return [Hint(*row) for row in found]

    def expire(self, now: float, limit: int) -> list[str]:
        """Delete ended sessions whose retention has passed; return their ids."""
        with self._database.read() as db:
            if not db.execute(
                "SELECT 1 FROM sessions INDEXED BY sessions_expiry WHERE expires_at <= ? LIMIT 1", (now,)
            ).fetchone():
                return []
        with self._database.write() as db:
            found = db.execute("SELECT id FROM sessions WHERE expires_at <= ? LIMIT ?", (now, limit)).fetchall()
            for (session_id,) in found:
                statements.delete(db, session_id)
                db.execute("DELETE FROM audit WHERE session_id = ?", (session_id,))
        return [session_id for (session_id,) in found]
