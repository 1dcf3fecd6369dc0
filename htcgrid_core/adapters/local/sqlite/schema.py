"""The tables of the local database as a new one is made, and which versions of them there are.

A change of them is a new version, a step in ``migrations`` and the same change here. Agents of the release before go on
while a newer client migrates the database under them, so that a step only adds: columns with a default, tables,
indexes. Their statements name their columns, and so stay valid.
"""

from __future__ import annotations

SCHEMA_VERSION = 13
OLDEST_MIGRATED = 4  # older databases are refused
# The lowest schema whose release may still use a database of SCHEMA_VERSION. It stays while steps only add what such a
# release need not know of; no release before schema 5 asks.
OLDEST_READER = 5

# Ends are numbered as they are written, whatever clocks say, and by the database itself, so that those that older
# releases write are, too. No number is given twice: the last of a session that is deleted is kept.
NUMBERED_ENDS = """
CREATE INDEX sessions_ends ON sessions(end_number) WHERE end_number IS NOT NULL;
CREATE TABLE deleted_ends (last_number INTEGER NOT NULL);
INSERT INTO deleted_ends (last_number) VALUES (0);
CREATE TRIGGER number_ends AFTER UPDATE OF live ON sessions WHEN OLD.live = 1 AND NEW.live = 0 BEGIN
    UPDATE sessions SET end_number = 1 + max(
        coalesce((SELECT end_number FROM sessions WHERE end_number IS NOT NULL ORDER BY end_number DESC LIMIT 1), 0),
        (SELECT last_number FROM deleted_ends)
    ) WHERE id = NEW.id;
END;
CREATE TRIGGER keep_last_end AFTER DELETE ON sessions WHEN OLD.end_number IS NOT NULL BEGIN
    UPDATE deleted_ends SET last_number = OLD.end_number WHERE last_number < OLD.end_number
        AND NOT EXISTS (SELECT 1 FROM sessions WHERE end_number > OLD.end_number);
END;
"""

# The audit outlives its sessions. What is not older than the row of ``audit_kept`` says is not deleted, whoever tries:
# releases before schema 9 delete a session's audit with it.
AUDIT_KEPT = """
CREATE INDEX audit_at ON audit(at);
CREATE TABLE audit_kept (since REAL NOT NULL);
INSERT INTO audit_kept (since) VALUES (0);
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit WHEN OLD.at >= (SELECT since FROM audit_kept) BEGIN
    SELECT RAISE(IGNORE);
END;
"""

# Whoever deletes a session that is held is refused, those of releases that know no holds included.
HELD_STAY = """
CREATE TRIGGER held_stay BEFORE DELETE ON sessions WHEN OLD.held <> '' BEGIN
    SELECT RAISE(ABORT, 'the session is on legal hold');
END;
"""

# Each table or index that a short session touches is one more page of a commit: small rows are in the tree of their
# primary key. Bytes come last in theirs, where whoever reads the other columns passes them by.
SCHEMA = (
    """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    live INTEGER NOT NULL DEFAULT 1,
    spec TEXT NOT NULL,
    name TEXT NOT NULL,
    total INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    submitted_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    ended_at REAL,
    deadline_at REAL,
    retention_seconds REAL NOT NULL,
    expires_at REAL,
    tolerated INTEGER,
    bundles INTEGER NOT NULL DEFAULT -1,
    digest TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    owner TEXT NOT NULL DEFAULT '',
    pool TEXT NOT NULL,
    task_seconds REAL NOT NULL DEFAULT 0,
    end_number INTEGER,
    retrying INTEGER NOT NULL DEFAULT 0,
    commits INTEGER NOT NULL DEFAULT 0,
    input_bytes INTEGER NOT NULL DEFAULT 0,
    output_bytes INTEGER NOT NULL DEFAULT 0,
    output_blobs INTEGER NOT NULL DEFAULT 0,
    folder TEXT NOT NULL DEFAULT '',
    held TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX sessions_live ON sessions(id) WHERE live = 1;
CREATE INDEX sessions_submitted ON sessions(submitted_at);
CREATE INDEX sessions_expiry ON sessions(expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE blocks (
    session_id TEXT NOT NULL,
    root INTEGER NOT NULL,
    first_index INTEGER NOT NULL,
    count INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    blob_key TEXT,
    blob_at INTEGER,
    size INTEGER NOT NULL,
    data BLOB,
    UNIQUE (session_id, root)
);

CREATE TABLE bundles (
    session_id TEXT NOT NULL,
    id TEXT NOT NULL,
    root INTEGER NOT NULL,
    parent TEXT,
    pool TEXT NOT NULL,
    state TEXT NOT NULL,
    tasks TEXT NOT NULL,
    crashes INTEGER NOT NULL,
    not_before REAL NOT NULL,
    rank REAL NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    token TEXT,
    owner TEXT,
    lease_until REAL,
    PRIMARY KEY (session_id, id)
) WITHOUT ROWID;
CREATE INDEX bundles_ready ON bundles(pool, rank) WHERE state = 'READY';
CREATE INDEX bundles_delayed ON bundles(pool, not_before) WHERE state = 'READY' AND not_before > 0;
CREATE INDEX bundles_lapsed ON bundles(pool, lease_until) WHERE state = 'LEASED';
CREATE INDEX bundles_parent ON bundles(session_id, parent) WHERE parent IS NOT NULL;

CREATE TABLE outcomes (
    seq INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL,
    root INTEGER NOT NULL,
    bundle_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    agent TEXT NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    blob_key TEXT,
    size INTEGER NOT NULL,
    data BLOB
);
CREATE INDEX outcomes_session ON outcomes(session_id, seq);
CREATE INDEX outcomes_root ON outcomes(session_id, root, seq);
CREATE INDEX outcomes_failed ON outcomes(session_id, seq) WHERE failed > 0;

CREATE TABLE agents (
    id TEXT PRIMARY KEY, pool TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
    slots INTEGER NOT NULL, busy INTEGER NOT NULL, beat_at REAL NOT NULL, problem TEXT NOT NULL,
    begun TEXT, started_at REAL, memory_bytes INTEGER, memory_limit_bytes INTEGER
);

CREATE TABLE pools (pool TEXT PRIMARY KEY, memory_mb INTEGER, cpus REAL) WITHOUT ROWID;
-- What agents have measured of functions, each agent's sums; of agents that have left, under the name of none.
CREATE TABLE usage (
    function TEXT NOT NULL, agent TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (function, agent)
) WITHOUT ROWID;

CREATE TABLE audit (
    session_id TEXT NOT NULL, seq INTEGER NOT NULL,
    at REAL NOT NULL, actor TEXT NOT NULL,
    event TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL, detail TEXT NOT NULL,
    spent TEXT,
    PRIMARY KEY (session_id, seq)
) WITHOUT ROWID;
CREATE TRIGGER audit_append_only BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

-- What tasks that run again said when they failed, by the bundle whose commit says that they do.
CREATE TABLE attempts (
    session_id TEXT NOT NULL, bundle_id TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (session_id, bundle_id)
) WITHOUT ROWID;

-- Rows of the outbox that are not settled have a time; their bodies hold task tokens, which no listing shows.
CREATE TABLE notifications (
    session_id TEXT NOT NULL, recipient TEXT NOT NULL, version TEXT NOT NULL, due_at REAL, body TEXT NOT NULL,
    PRIMARY KEY (session_id, recipient)
) WITHOUT ROWID;
CREATE INDEX notifications_due ON notifications(due_at) WHERE due_at IS NOT NULL;
CREATE TABLE destinations (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE migrations (
    version INTEGER PRIMARY KEY, oldest_reader INTEGER NOT NULL, release TEXT NOT NULL, at REAL NOT NULL
);
"""
    + NUMBERED_ENDS
    + AUDIT_KEPT
    + HELD_STAY
)
