"""Legal holds on SQLite: a column that deletions obey, by a trigger, and no time at which the session expires."""

from __future__ import annotations

import sqlite3

from htcgrid_core.adapters.local.sqlite import statements
from htcgrid_core.adapters.local.sqlite.database import Database, writes
from htcgrid_core.domain.audit import HOLD, RELEASE
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import check_holdable


class Holding:
    """Holds sessions and releases them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @writes
    def hold(self, db: sqlite3.Connection, session_id: str, now: float, *, actor: str, reason: str) -> SessionRecord:
        """Keep one that has ended, until it is released: releases that know no holds find no time for its deletion."""
        record = statements.session(db, session_id)
        if record.held:
            return record
        if record.expires_at is not None and record.expires_at <= now:
            raise SessionNotFound(session_id)
        check_holdable(record)
        db.execute("UPDATE sessions SET held = ?, expires_at = NULL WHERE id = ?", (reason, session_id))
        statements.audit(db, now, session_id, actor, HOLD, record.state, record.state, reason)
        return statements.session(db, session_id)

    @writes
    def release(
        self, db: sqlite3.Connection, session_id: str, now: float, *, actor: str, reason: str = ""
    ) -> SessionRecord:
        """Let its retention go on, as if it had never been held."""
        record = statements.session(db, session_id)
        if not record.held:
            return record
        db.execute(
            "UPDATE sessions SET held = '', expires_at = ended_at + retention_seconds WHERE id = ?", (session_id,)
        )
        statements.audit(db, now, session_id, actor, RELEASE, record.state, record.state, reason)
        return statements.session(db, session_id)
