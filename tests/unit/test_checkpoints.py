"""Checkpoints beside the work, on a real database."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import TypeVar

import pytest

from htcgrid_core.adapters.local.sqlite.checkpoints import Checkpoints, _checkpoint
from htcgrid_core.adapters.local.sqlite.connection import Work
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.testing.contracts.facts import eventually

SOON = 0.01

T = TypeVar("T")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A new database's file."""
    return tmp_path / "grid.db"


def write(database: Database, name: str, size: int = 1 << 16) -> None:
    """Commit a few pages."""
    database.write(lambda db: db.execute("CREATE TABLE IF NOT EXISTS payloads (name TEXT, data BLOB)"))
    database.write(lambda db: db.execute("INSERT INTO payloads VALUES (?, ?)", (name, bytes(size))))


def grown(path: Path, size: int) -> int:
    """The size of a file once it is at least so large, or as it is when patience runs out."""
    return eventually(lambda: path.stat().st_size, lambda now: now >= size)


def test_what_is_committed_moves_into_the_database(path: Path) -> None:
    """More than once, and with readers and writers that stay connected."""
    committing = Database(path)
    with Checkpoints(Database(path), SOON):
        for name in ("first", "second"):
            moved = path.stat().st_size + (1 << 16)
            write(committing, name)
            assert grown(path, moved) >= moved
    assert committing.connection().execute("SELECT name FROM payloads").fetchall() == [("first",), ("second",)]


def test_what_a_reader_still_needs_is_moved_once_it_is_done(path: Path) -> None:
    """Its snapshot holds the log up, without holding up the checkpoints."""
    committing, reading = Database(path), sqlite3.connect(path, isolation_level=None)
    write(committing, "first")
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM payloads").fetchone()
    write(committing, "second")
    with Checkpoints(Database(path), SOON):
        size = grown(path, 1 << 16)
        assert size >= 1 << 16
        assert reading.execute("SELECT name FROM payloads").fetchall() == [("first",)]
        reading.execute("COMMIT")
        assert grown(path, size + (1 << 15)) >= size + (1 << 15)
    reading.close()


def test_nothing_is_done_where_nobody_commits(path: Path) -> None:
    """An idle grid costs no writes."""
    database = Database(path)
    connection = database.connection()
    first = _checkpoint(None, connection)
    assert first is not None
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    assert _checkpoint(first, connection) == first
    assert statements == ["PRAGMA data_version"]
    write(Database(path), "another's")
    assert _checkpoint(first, connection) not in (first, None)
    assert statements[-1] == "PRAGMA wal_checkpoint(PASSIVE)"


def test_it_goes_on_after_a_failure(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And says what the log could not be moved for."""
    committing, failing = Database(path), Database(path)
    real, calls = failing.read, []

    def fails_once(work: Work[T]) -> T:
        calls.append(1)
        if len(calls) == 1:
            raise GridUnavailable("disk I/O error")
        return real(work)

    monkeypatch.setattr(failing, "read", fails_once)
    moved = path.stat().st_size + (1 << 16)
    write(committing, "first")
    with caplog.at_level(logging.WARNING), Checkpoints(failing, SOON):
        assert grown(path, moved) >= moved
    assert "disk I/O error" in caplog.text
