"""Progress, sessions, bundles and pages read from SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from htcgrid_core.adapters.local.sqlite import rows, statements
from htcgrid_core.adapters.local.sqlite.database import Database, reads
from htcgrid_core.adapters.local.sqlite.lines import pool_of
from htcgrid_core.domain import limits
from htcgrid_core.domain.audit import DELETE
from htcgrid_core.domain.bundle import Block, before_root, root_of
from htcgrid_core.domain.ended import End, EndedPage
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.session_store import AuditEntry, Committed, OpenBundle, OutcomePage


class Queries:
    """Reads, of one statement each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @reads
    def session(self, db: sqlite3.Connection, session_id: str, now: float) -> SessionRecord:
        """One session's row."""
        found = db.execute(
            f"SELECT {rows.SESSION_COLUMNS} FROM sessions WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)",
            (session_id, now),
        ).fetchone()
        if found is None:
            raise SessionNotFound(session_id)
        return rows.session_of(found)

    @reads
    def progress(self, db: sqlite3.Connection, session_ids: Sequence[str], now: float) -> list[SessionRecord]:
        """Up to 100 sessions' rows in one call, in the order asked for; unknown ones are left out."""
        if len(session_ids) > limits.PROGRESS_BATCH:
            raise ValueError(f"at most {limits.PROGRESS_BATCH} sessions a call, not {len(session_ids)}")
        marks = ", ".join("?" * len(session_ids))
        found = db.execute(
            f"SELECT {rows.SESSION_COLUMNS} FROM sessions WHERE id IN ({marks})"
            " AND (expires_at IS NULL OR expires_at > ?)",
            (*session_ids, now),
        ).fetchall()
        records = {row[0]: rows.session_of(row) for row in found}
        return [records[session_id] for session_id in session_ids if session_id in records]

    @reads
    def sessions(
        self,
        db: sqlite3.Connection,
        now: float,
        *,
        states: Sequence[SessionState] = (),
        limit: int = 100,
        before: float | None = None,
    ) -> list[SessionRecord]:
        """Sessions, newest first; ``before`` is the submitted_at to go on from."""
        condition = f"AND state IN {statements.one_of(states)}" if states else ""
        found = db.execute(
            f"SELECT {rows.SESSION_COLUMNS} FROM sessions WHERE submitted_at < ? {condition}"
            " AND (expires_at IS NULL OR expires_at > ?) ORDER BY submitted_at DESC LIMIT ?",
            (float("inf") if before is None else before, now, limit),
        ).fetchall()
        return [rows.session_of(row) for row in found]

    @reads
    def live_sessions(self, db: sqlite3.Connection) -> list[SessionRecord]:
        """Sessions that have not ended."""
        found = db.execute(
            f"SELECT {rows.SESSION_COLUMNS} FROM sessions INDEXED BY sessions_live WHERE live = 1"
        ).fetchall()
        return [rows.session_of(row) for row in found]

    @reads
    def ended(self, db: sqlite3.Connection, after: str | float, now: float, limit: int) -> EndedPage:
        """Sessions that have ended, in the order in which that was written."""
        number = int(after) if isinstance(after, str) else _number_before(db, after)
        found = db.execute(
            "SELECT end_number, id, ended_at FROM sessions INDEXED BY sessions_ends"
            " WHERE end_number IS NOT NULL AND end_number > ? ORDER BY end_number LIMIT ?",
            (number, limit),
        ).fetchall()
        if not found and number > _last_number(db):  # the cursor is of another database, which was here before
            return EndedPage((), "0", _last_number(db) > 0, round_over=True)
        ends = tuple(End(session_id, float(at or 0.0)) for _, session_id, at in found)
        return EndedPage(ends, str(found[-1][0] if found else number), len(found) == limit, round_over=True)

    @reads
    def has_live_lease(self, db: sqlite3.Connection, session_id: str, now: float) -> bool:
        """Whether any agent may still be running tasks of this session."""
        found = db.execute(
            "SELECT 1 FROM bundles WHERE session_id = ? AND state = 'LEASED' AND lease_until > ? LIMIT 1",
            (session_id, now),
        ).fetchone()
        return found is not None

    @reads
    def runnable(self, db: sqlite3.Connection, session_id: str, now: float, limit: int) -> list[Hint]:
        """Bundles that are ready or whose lease has lapsed, and since when."""
        found = db.execute(
            "SELECT session_id, id, CASE state WHEN 'LEASED' THEN lease_until ELSE not_before END, pool"
            " FROM bundles WHERE session_id = ?"
            " AND ((state = 'READY' AND not_before <= ?2) OR (state = 'LEASED' AND lease_until <= ?2))"
            " ORDER BY rank LIMIT ?3",
            (session_id, now, limit),
        ).fetchall()
        return [Hint(session, bundle, at, pool=pool_of(line)) for session, bundle, at, line in found]

    @reads
    def open_bundles(self, db: sqlite3.Connection, session_id: str, after: str, limit: int) -> list[OpenBundle]:
        """Bundles that are not done, by id, after id ``after``."""
        found = db.execute(
            f"SELECT {rows.BUNDLE_COLUMNS}, state, {rows.LEASE_COLUMNS} FROM bundles"
            " WHERE session_id = ? AND id > ? AND state <> 'DONE' ORDER BY id LIMIT ?",
            (session_id, after, limit),
        ).fetchall()
        return [
            OpenBundle(rows.bundle_of(row[:7]), rows.lease_of(row[8:]) if row[7] == statements.LEASED else None)
            for row in found
        ]

    @reads
    def blocks(
        self, db: sqlite3.Connection, session_id: str, first_root: int, limit: int, *, events: bool = True
    ) -> list[Block]:
        """Blocks of roots from ``first_root`` on, in order; without ``events``, their payload is empty."""
        columns = rows.BLOCK_COLUMNS if events else rows.BLOCK_COLUMNS.replace("data,", "x'',")
        found = db.execute(
            f"SELECT {columns} FROM blocks WHERE session_id = ? AND root >= ? ORDER BY root LIMIT ?",
            (session_id, first_root, limit),
        ).fetchall()
        return [rows.block_of(row) for row in found]

    @reads
    def outcome_pages(
        self, db: sqlite3.Connection, session_id: str, after: int, limit: int, *, failed_only: bool = False
    ) -> list[OutcomePage]:
        """Pages in commit order, after cursor ``after`` (0 to begin)."""
        condition = "AND failed > 0" if failed_only else ""
        found = db.execute(
            f"SELECT {rows.PAGE_COLUMNS} FROM outcomes WHERE session_id = ? AND seq > ? {condition}"
            " ORDER BY seq LIMIT ?",
            (session_id, after, limit),
        ).fetchall()
        return [rows.page_of(row) for row in found]

    @reads
    def root_pages(self, db: sqlite3.Connection, session_id: str, first_root: int, last_root: int) -> list[OutcomePage]:
        """All pages of roots ``first_root <= root < last_root``."""
        found = db.execute(
            f"SELECT {rows.PAGE_COLUMNS} FROM outcomes WHERE session_id = ? AND root >= ? AND root < ?"
            " ORDER BY root, seq",
            (session_id, first_root, last_root),
        ).fetchall()
        return [rows.page_of(row) for row in found]

    @reads
    def committed(self, db: sqlite3.Connection, session_id: str, after: int, limit: int) -> list[Committed]:
        """The same without the pages."""
        found = db.execute(
            "SELECT seq, bundle_id, failed FROM outcomes WHERE session_id = ? AND seq > ? ORDER BY seq LIMIT ?",
            (session_id, after, limit),
        ).fetchall()
        return [Committed(seq, bundle_id, failed > 0) for seq, bundle_id, failed in found]

    @reads
    def bundle_pages(self, db: sqlite3.Connection, session_id: str, bundle_ids: Sequence[str]) -> list[OutcomePage]:
        """The pages of some bundles, found by their roots, of which there is an index."""
        roots = sorted({root_of(bundle_id) for bundle_id in bundle_ids})
        some, these = (", ".join("?" * len(listed)) for listed in (roots, bundle_ids))
        found = db.execute(
            f"SELECT {rows.PAGE_COLUMNS} FROM outcomes WHERE session_id = ? AND root IN ({some})"
            f" AND bundle_id IN ({these})",
            (session_id, *roots, *bundle_ids),
        ).fetchall()
        return [rows.page_of((0, *row[1:])) for row in found]

    @reads
    def attempts(self, db: sqlite3.Connection, session_id: str, bundle_ids: Sequence[str]) -> dict[str, bytes]:
        """What tasks of these bundles said when they failed."""
        marks = ", ".join("?" * len(bundle_ids))
        found = db.execute(
            f"SELECT bundle_id, data FROM attempts WHERE session_id = ? AND bundle_id IN ({marks})",
            (session_id, *bundle_ids),
        ).fetchall()
        return dict(found)

    @reads
    def attempts_of_root(self, db: sqlite3.Connection, session_id: str, root: int, limit: int) -> list[bytes]:
        """What tasks of a root and its descendants said when they failed."""
        found = db.execute(
            "SELECT data FROM attempts WHERE session_id = ? AND bundle_id > ? AND bundle_id < ? LIMIT ?",
            (session_id, before_root(root), before_root(root + 1), limit),
        ).fetchall()
        return [data for (data,) in found]

    @reads
    def history(self, db: sqlite3.Connection, session_id: str) -> list[AuditEntry]:
        """The session's transitions, oldest first."""
        found = db.execute(
            f"SELECT {rows.AUDIT_COLUMNS} FROM audit WHERE session_id = ?1 AND seq > coalesce("
            "(SELECT max(seq) FROM audit WHERE session_id = ?1 AND event = ?2), 0) ORDER BY seq",
            (session_id, DELETE),  # what was before is another session's, which had the same id
        ).fetchall()
        return [rows.audit_of(row) for row in found]


def _number_before(db: sqlite3.Connection, time: float) -> int:
    """The number of the last end before the first one after a time, or of the very last."""
    (first,) = db.execute(
        "SELECT min(end_number) FROM sessions WHERE end_number IS NOT NULL AND ended_at > ?", (time,)
    ).fetchone()
    return _last_number(db) if first is None else int(first) - 1


def _last_number(db: sqlite3.Connection) -> int:
    (number,) = db.execute(
        "SELECT max(last_number, coalesce((SELECT max(end_number) FROM sessions WHERE end_number IS NOT NULL), 0))"
        " FROM deleted_ends"
    ).fetchone()
    return int(number)
