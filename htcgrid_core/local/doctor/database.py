"""SQLite: the library, its write-ahead log in this directory, and the grid's own file."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from htcgrid_core.adapters.local.sqlite.migrations import objection_to
from htcgrid_core.local.directory import Directory
from htcgrid_core.local.doctor.finding import Findings, ok, problem, warning
from htcgrid_core.local.doctor.storage import ELSEWHERE

OLDEST_SQLITE = (3, 35, 0)  # RETURNING
CHECK_SECONDS = 20.0
CHECK_STEPS = 10_000  # virtual machine instructions between looks at the time
LARGE_LOG_BYTES = 1 << 30
DAMAGED = (
    "stop the agents (htcgrid down), move the directory away and begin a new one; "
    "sqlite3's .recover may save what it held"
)


def library(grid: Directory) -> Findings:
    """SQLite's version, and whether its write-ahead log works here."""
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        yield problem("sqlite", f"SQLite {version} is too old", f"use a Python with SQLite {oldest} or later")
        return
    probe = grid.root / f".doctor-{secrets.token_hex(4)}.db"
    try:
        mode, seen = _write_and_read(probe)
    except sqlite3.Error as error:
        yield problem("sqlite", f"SQLite {version} cannot write into {grid.root}: {error}", ELSEWHERE)
        return
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{probe}{suffix}").unlink(missing_ok=True)
    if mode == "wal" and seen == 1:
        yield ok("sqlite", f"SQLite {version}, write-ahead log works")
    else:
        text = f"SQLite {version} has no write-ahead log in {grid.root} (journal mode {mode})"
        yield problem("sqlite", text, ELSEWHERE)


def _write_and_read(path: Path) -> tuple[str, int]:
    """Journal mode, and the number of rows that a second connection sees."""
    with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(path)) as other:
        (mode,) = one.execute("PRAGMA journal_mode = WAL").fetchone()
        one.execute("CREATE TABLE probe (x)")
        one.execute("INSERT INTO probe VALUES (1)")
        one.commit()
        (seen,) = other.execute("SELECT count(*) FROM probe").fetchone()
    return mode, seen


def file(grid: Directory) -> Findings:
    """The grid's database: writable, of our version, whole."""
    path = grid.database
    if not path.exists():
        yield ok("database", f"{path} is not there yet; the first use makes it")
        return
    for part in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        if part.exists() and not os.access(part, os.R_OK | os.W_OK):
            yield problem("database", f"{part} is not readable and writable", f"chmod u+rw {part}, as its owner")
            return
    try:
        with closing(sqlite3.connect(path, timeout=CHECK_SECONDS)) as connection:
            yield from _look_inside(path, connection)
    except sqlite3.OperationalError as error:
        advice = f"see its permissions and the disk, or {ELSEWHERE}"
        yield problem("database", f"{path} cannot be read: {error}", advice)
    except sqlite3.DatabaseError as error:
        yield problem("database", f"{path} is damaged, or not a database: {error}", DAMAGED)


def _look_inside(path: Path, connection: sqlite3.Connection) -> Findings:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if objection := objection_to(connection, str(path)):
        yield problem("database", objection, f"use that version of htcgrid, or {ELSEWHERE}")
        return
    size = path.stat().st_size / 1e6
    deadline = time.monotonic() + CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, CHECK_STEPS)
    try:
        complaints = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        complaints = []
        text = f"{path} ({size:,.0f} MB) was read for {CHECK_SECONDS:.0f} s without finding damage, but not to its end"
        yield warning("database", text, f"to check all of it: sqlite3 {path} 'PRAGMA quick_check'")
    if complaints == ["ok"]:
        (sessions,) = connection.execute("SELECT count(*) FROM sessions").fetchone() if tables else (0,)
        yield ok("database", f"{path}, {size:,.1f} MB, {sessions:,} session{'s' * (sessions != 1)}, no damage found")
    elif complaints:
        yield problem("database", f"{path} is damaged: {'; '.join(complaints)}", DAMAGED)
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size > LARGE_LOG_BYTES:
        text = f"the write-ahead log has {log.stat().st_size / 1e9:,.1f} GB: some process keeps reading an old state"
        yield warning("database", text, "end processes that have held a session's results half read for long")
