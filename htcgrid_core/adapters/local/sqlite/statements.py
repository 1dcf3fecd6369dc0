"""Statements that several methods of the store share; each runs inside its caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from htcgrid_core.adapters.local.sqlite import rows
from htcgrid_core.adapters.local.sqlite.lines import line_in
from htcgrid_core.domain.bundle import BundleState, Child
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import LIVE_SESSION_STATES, SESSION, SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord

READY, LEASED, DONE = BundleState.READY, BundleState.LEASED, BundleState.DONE


def one_of(states: Sequence[SessionState]) -> str:
    """States as the right side of IN."""
    return "(" + ", ".join(f"'{state}'" for state in states) + ")"


LIVE = one_of(LIVE_SESSION_STATES)
CLAIMABLE = one_of([SessionState.SUBMITTED, SessionState.RUNNING])  # nothing of a cancelled session begins any more


def session(db: sqlite3.Connection, session_id: str) -> SessionRecord:
    """A session's row as the transaction sees it."""
    row = db.execute(f"SELECT {rows.SESSION_COLUMNS} FROM sessions WHERE id = ?", (session_id,)).fetchone()
    if row is None:
        raise SessionNotFound(session_id)
    return rows.session_of(row)


def audit(
    db: sqlite3.Connection,
    at: float,
    session_id: str,
    actor: str,
    event: str,
    before: str,
    after: str,
    detail: str = "",
    spent: str | None = None,
) -> None:
    """Note who did what to a session, or, without an id, to the grid."""
    db.execute(
        "INSERT INTO audit (session_id, seq, at, actor, event, before, after, detail, spent) VALUES"
        " (?1, coalesce((SELECT max(seq) FROM audit WHERE session_id = ?1), 0) + 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (session_id, at, actor, event, before, after, detail, spent),
    )


def end(
    db: sqlite3.Connection, record: SessionRecord, event: SessionEvent, now: float, actor: str, reason: str
) -> SessionRecord:
    """Write a terminal state and the counters of ``record``; what has no outcome is cancelled by it."""
    after = SESSION.advance(record.state, event)
    seen = record.counters
    counters = replace(seen, cancelled=seen.cancelled + seen.pending)
    ended = replace(
        record,
        state=after,
        counters=counters,
        ended_at=now,
        expires_at=now + record.retention_seconds,
        updated_at=now,
        reason=record.reason or reason,
    )
    db.execute(
        "UPDATE sessions SET state = ?, live = 0, completed = ?, failed = ?, cancelled = ?, ended_at = ?,"
        " expires_at = ?, updated_at = ?, reason = ? WHERE id = ?",
        (
            after, counters.completed, counters.failed, counters.cancelled, now, ended.expires_at, now, ended.reason,
            record.session_id,
        ),
    )  # fmt: skip
    if ended.counters.cancelled:
        _end_bundles(db, record.session_id)
    audit(db, now, record.session_id, actor, event, record.state, after, reason, ended.spent.text())
    return ended


def _end_bundles(db: sqlite3.Connection, session_id: str) -> None:
    """Nobody will run these; leaving them ready would make agents look at them for ever."""
    db.execute(
        "UPDATE bundles SET state = 'DONE', token = NULL WHERE session_id = ? AND state <> 'DONE'", (session_id,)
    )


def replace_unreadable(db: sqlite3.Connection, damaged: SessionRecord, now: float, actor: str) -> SessionRecord:
    """Write a FAILED row in the place of one that cannot be read; what of its tasks has no outcome never will."""
    session_id, expires_at = damaged.session_id, now + damaged.retention_seconds
    db.execute(
        "UPDATE sessions SET state = ?, live = 0, spec = '', name = '', total = 0, completed = 0, failed = 0,"
        " cancelled = 0, task_seconds = 0, submitted_at = ?, updated_at = ?, ended_at = ?, deadline_at = NULL,"
        " retention_seconds = ?, expires_at = ?, tolerated = NULL, bundles = -1, digest = '',"
        " reason = ?, owner = '', pool = ? WHERE id = ?",
        (
            damaged.state, damaged.submitted_at, now, now, damaged.retention_seconds, expires_at, damaged.reason,
            damaged.pool, session_id,
        ),
    )  # fmt: skip
    _end_bundles(db, session_id)
    audit(db, now, session_id, actor, SessionEvent.FAIL, "", damaged.state, damaged.reason)
    return session(db, session_id)


def delete(db: sqlite3.Connection, session_id: str) -> None:
    """Forget a session but for its audit."""
    for table in ("blocks", "bundles", "outcomes", "attempts"):
        db.execute(f"DELETE FROM {table} WHERE session_id = ?", (session_id,))
    db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))


def put_child(db: sqlite3.Connection, line: str, parent: str | None, child: Child) -> None:
    """Write a new bundle, ready or leased."""
    bundle, lease = child.bundle, child.lease
    db.execute(
        "INSERT INTO bundles (session_id, id, root, parent, pool, state, tasks, crashes, not_before, rank, epoch,"
        " token, owner, lease_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            bundle.session_id, bundle.bundle_id, bundle.root, parent,
            line_in(bundle.pool, line) if bundle.pool else line, LEASED if lease else READY,
            rows.tasks_text(bundle), bundle.crashes, bundle.not_before, bundle.rank,
            lease.epoch if lease else 0, lease.token if lease else None, lease.owner if lease else None,
            lease.until if lease else None,
        ),
    )  # fmt: skip
