"""Claim, renew and commit on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from htcgrid_core.adapters.local.sqlite import rows, statements
from htcgrid_core.adapters.local.sqlite.database import Database, writes
from htcgrid_core.adapters.local.sqlite.lines import pool_of
from htcgrid_core.domain.agent_version import is_for_newer_agents
from htcgrid_core.domain.errors import LeaseLost
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.domain.session_end import verdict
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.session_store import (
    Claimed,
    Commit,
    Refusal,
    Refused,
    Renewal,
    Renewed,
)


class _ForNewerAgents(Exception):
    """The session asks for agents of a newer release."""


class Leasing:
    """What an agent writes of the bundles that it holds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self, session_id: str, bundle_id: str, *, token: str, owner: str, now: float, until: float
    ) -> Claimed | Refused:
        """Lease a bundle that is ready, or whose lease has lapsed."""
        try:
            return self._claim(session_id, bundle_id, token, owner, now, until)
        except _ForNewerAgents:
            return Refused(Refusal.NEWER)

    @writes
    def _claim(
        self, db: sqlite3.Connection, session_id: str, bundle_id: str, token: str, owner: str, now: float, until: float
    ) -> Claimed | Refused:
        claimed = db.execute(
            "UPDATE bundles SET crashes = crashes + (state = 'LEASED' AND token <> ?1),"
            " epoch = epoch + (token IS NULL OR token <> ?1),"
            " state = 'LEASED', token = ?1, owner = ?2, lease_until = ?3"
            " WHERE session_id = ?4 AND id = ?5"
            " AND ((state = 'READY' AND not_before <= ?6)"
            "      OR (state = 'LEASED' AND (lease_until <= ?6 OR token = ?1)))"
            f" AND (SELECT state FROM sessions WHERE id = ?4) IN {statements.CLAIMABLE}"
            f" RETURNING {rows.BUNDLE_COLUMNS}, {rows.LEASE_COLUMNS}",
            (token, owner, until, session_id, bundle_id, now),
        ).fetchone()
        if claimed is None:
            return _refusal(db, session_id, bundle_id)
        bundle, lease = rows.bundle_of(claimed[:7]), rows.lease_of(claimed[7:])
        found = db.execute(
            f"SELECT {rows.BLOCK_COLUMNS}, {rows.SESSION_COLUMNS}"
            " FROM blocks JOIN sessions ON sessions.id = session_id WHERE session_id = ? AND root = ?",
            (session_id, bundle.root),
        ).fetchone()
        session = rows.session_of(found[7:])
        if is_for_newer_agents(session.spec):
            raise _ForNewerAgents  # which takes the claim back
        return Claimed(bundle, lease, rows.block_of(found[:7]), session)

    @writes
    def renew(self, db: sqlite3.Connection, renewals: Sequence[Renewal]) -> list[Renewed]:
        """Move leases' ends; one answer for each, in order."""
        answers = []
        for renewal in renewals:
            held = db.execute(
                "UPDATE bundles SET lease_until = ? WHERE session_id = ? AND id = ? AND state = 'LEASED' AND token = ?",
                (renewal.until, renewal.session_id, renewal.bundle_id, renewal.token),
            ).rowcount
            found = db.execute("SELECT state FROM sessions WHERE id = ?", (renewal.session_id,)).fetchone()
            state = rows.state_of(found[0]) if found else SessionState.CANCELLED
            answers.append(Renewed(bool(held), state))
        return answers

    @writes
    def commit(self, db: sqlite3.Connection, commit: Commit) -> SessionRecord:
        """Mark the bundle done, add to the counters and create the children, all or nothing."""
        done = db.execute(
            "UPDATE bundles SET state = 'DONE', lease_until = NULL"
            " WHERE session_id = ? AND id = ? AND state = 'LEASED' AND token = ?"
            f" AND (SELECT state FROM sessions WHERE id = ?1) IN {statements.LIVE}"
            " RETURNING root, epoch, owner, pool",
            (commit.session_id, commit.bundle_id, commit.token),
        ).fetchone()
        if done is None:
            return _committed_before(db, commit)
        root, epoch, owner, line = done
        if commit.outcomes is not None:
            _put_page(db, commit, root, epoch, owner, commit.outcomes)
        if commit.attempts is not None:
            db.execute(
                "INSERT INTO attempts (session_id, bundle_id, data) VALUES (?, ?, ?)",
                (commit.session_id, commit.bundle_id, commit.attempts),
            )
        for child in commit.children:
            statements.put_child(db, line, commit.bundle_id, child)
        counted = db.execute(
            "UPDATE sessions SET completed = completed + ?, failed = failed + ?, task_seconds = task_seconds + ?,"
            " retrying = retrying + ?, updated_at = ?, commits = commits + 1, output_bytes = output_bytes + ?,"
            f" output_blobs = output_blobs + ? WHERE id = ? RETURNING {rows.SESSION_COLUMNS}",
            (
                commit.completed, commit.failed, commit.task_seconds, commit.retrying, commit.now,
                commit.output_bytes, commit.output_blobs, commit.session_id,
            ),
        ).fetchone()  # fmt: skip
        record = rows.session_of(counted)
        over = verdict(record, commit.now)
        if over is None:
            return record
        # The last commit ends the session in the same step: another would only cost time.
        return statements.end(db, record, over.event, commit.now, "grid", over.reason)


def _put_page(db: sqlite3.Connection, commit: Commit, root: int, epoch: int, agent: str, outcomes: Payload) -> None:
    db.execute(
        "INSERT INTO outcomes (session_id, root, bundle_id, epoch, agent, completed, failed, data, blob_key, size)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            commit.session_id, root, commit.bundle_id, epoch, agent, commit.completed, commit.failed,
            outcomes.data, outcomes.key, outcomes.size,
        ),
    )  # fmt: skip


def _refusal(db: sqlite3.Connection, session_id: str, bundle_id: str) -> Refused:
    row = db.execute(
        f"SELECT b.state, s.state IN {statements.CLAIMABLE} FROM bundles b JOIN sessions s ON s.id = b.session_id"
        " WHERE b.session_id = ? AND b.id = ?",
        (session_id, bundle_id),
    ).fetchone()
    if row is None:
        known = db.execute("SELECT 1 FROM sessions WHERE id = ?", (session_id,)).fetchone()
        return Refused(Refusal.OVER if known else Refusal.UNKNOWN)
    if not row[1]:
        return Refused(Refusal.OVER)
    if row[0] == statements.DONE:
        children = db.execute(
            "SELECT id, not_before, pool FROM bundles WHERE session_id = ? AND parent = ? AND state = 'READY'",
            (session_id, bundle_id),
        ).fetchall()
        return Refused(
            Refusal.OVER, tuple(Hint(session_id, child, at, pool=pool_of(line)) for child, at, line in children)
        )
    return Refused(Refusal.LEASED if row[0] == statements.LEASED else Refusal.EARLY)


def _committed_before(db: sqlite3.Connection, commit: Commit) -> SessionRecord:
    """The row, if this very commit was applied before: the bundle is done by the same token."""
    row = db.execute(
        "SELECT state, token FROM bundles WHERE session_id = ? AND id = ?", (commit.session_id, commit.bundle_id)
    ).fetchone()
    if row == (statements.DONE, commit.token):
        return statements.session(db, commit.session_id)
    raise LeaseLost(
        f"bundle {commit.bundle_id} of session {commit.session_id} was committed, reclaimed or ended by another; "
        "this agent's work on it is dropped"
    )
