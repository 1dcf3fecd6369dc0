"""Submit on SQLite: session rows, blocks and root bundles."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from htcgrid_core.adapters.local.sqlite import statements
from htcgrid_core.adapters.local.sqlite.database import Database, writes
from htcgrid_core.adapters.local.sqlite.lines import line_of
from htcgrid_core.domain.bundle import Block, Bundle, Child
from htcgrid_core.domain.errors import IllegalTransition, SessionConflict
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord, whole
from htcgrid_core.domain.session_end import verdict


class Submitting:
    """What a submitter writes, up to the acknowledgement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @writes
    def create_session(self, db: sqlite3.Connection, record: SessionRecord, actor: str) -> SessionRecord:
        """Write a SUBMITTED session unless its id exists; return the row as it then is."""
        if _insert_session(db, record):
            statements.audit(db, record.submitted_at, record.session_id, actor, "submit", "", SESSION.initial)
        return statements.session(db, record.session_id)

    @writes
    def create_whole(
        self,
        db: sqlite3.Connection,
        record: SessionRecord,
        bundles: Sequence[tuple[Bundle, Block]],
        actor: str,
        *,
        digest: str,
        tolerated: int | None,
    ) -> SessionRecord:
        """Write a small session, bundles and all, RUNNING, in one step; a session that exists is returned as it is."""
        now = record.submitted_at
        running = whole(record, [block for _, block in bundles], digest=digest, tolerated=tolerated)
        line = line_of(record)
        if not _insert_session(db, running):
            return statements.session(db, record.session_id)
        for bundle, block in bundles:
            _put_root(db, line, bundle, block)
        statements.audit(db, now, record.session_id, actor, "submit", "", SESSION.initial)
        statements.audit(db, now, record.session_id, actor, SessionEvent.ACKNOWLEDGE, SESSION.initial, running.state)
        over = verdict(running, now)
        return running if over is None else statements.end(db, running, over.event, now, "grid", over.reason)

    @writes
    def put_bundles(
        self, db: sqlite3.Connection, session_id: str, bundles: Sequence[tuple[Bundle, Block]], now: float
    ) -> None:
        """Write roots and their blocks and add their tasks to the total; those that exist are left alone."""
        record = statements.session(db, session_id)
        if record.state is not SessionState.SUBMITTED:
            raise IllegalTransition(f"session {session_id} is {record.state}, so it takes no more tasks")
        line = line_of(record)
        counts = [_put_root(db, line, bundle, block) for bundle, block in bundles]
        added = sum(counts)
        size = sum(block.payload.size for count, (_, block) in zip(counts, bundles, strict=True) if count)
        db.execute(
            "UPDATE sessions SET total = total + ?, input_bytes = input_bytes + ?, updated_at = ? WHERE id = ?",
            (added, size, now, session_id),
        )

    @writes
    def acknowledge(
        self,
        db: sqlite3.Connection,
        session_id: str,
        actor: str,
        *,
        bundles: int,
        digest: str,
        tolerated: int | None,
        now: float,
    ) -> SessionRecord:
        """SUBMITTED becomes RUNNING. An acknowledged session is returned as it is."""
        record = statements.session(db, session_id)
        if record.acknowledged:
            return record
        after = SESSION.advance(record.state, SessionEvent.ACKNOWLEDGE)
        db.execute(
            "UPDATE sessions SET state = ?, bundles = ?, digest = ?, tolerated = ?, updated_at = ? WHERE id = ?",
            (after, bundles, digest, tolerated, now, session_id),
        )
        statements.audit(db, now, session_id, actor, SessionEvent.ACKNOWLEDGE, record.state, after)
        return statements.session(db, session_id)


def _insert_session(db: sqlite3.Connection, record: SessionRecord) -> bool:
    """Write a session's row; False if the id is taken, but for one that ended before it was acknowledged."""
    statement = (
        "INSERT OR IGNORE INTO sessions (id, state, spec, name, total, submitted_at, updated_at, deadline_at,"
        " retention_seconds, pool, bundles, digest, tolerated, input_bytes, folder)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    values = (
        record.session_id, record.state, record.spec, record.name, record.counters.total, record.submitted_at,
        record.updated_at, record.deadline_at, record.retention_seconds, record.pool, record.bundles, record.digest,
        record.tolerated, record.usage.input_bytes, record.folder,
    )  # fmt: skip
    if db.execute(statement, values).rowcount:
        return True
    aborted = "SELECT 1 FROM sessions WHERE id = ? AND live = 0 AND bundles < 0"
    if not db.execute(aborted, (record.session_id,)).fetchone():
        return False
    statements.delete(db, record.session_id)  # it makes way for another try under its token
    return bool(db.execute(statement, values).rowcount)


def _put_root(db: sqlite3.Connection, line: str, bundle: Bundle, block: Block) -> int:
    """Write one root; return how many tasks that adds (none if it exists already)."""
    payload = block.payload
    added = db.execute(
        "INSERT OR IGNORE INTO blocks (session_id, root, first_index, count, checksum, data, blob_key, blob_at, size)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            bundle.session_id, block.root, block.first_index, block.count, block.checksum, payload.data, payload.key,
            payload.at, payload.size,
        ),
    ).rowcount  # fmt: skip
    if not added:
        known = db.execute(
            "SELECT first_index, count, checksum, size FROM blocks WHERE session_id = ? AND root = ?",
            (bundle.session_id, block.root),
        ).fetchone()
        if known != (block.first_index, block.count, block.checksum, payload.size):
            raise SessionConflict(
                f"session {bundle.session_id} is being submitted under the same token with other events: "
                "use another token for another body"
            )
        return 0
    statements.put_child(db, line, None, Child(bundle))
    return block.count
