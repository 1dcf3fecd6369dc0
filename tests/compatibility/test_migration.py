"""The database of the release before, on its way to this one's."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from htcgrid_core.adapters.local.sqlite import migrations
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.schema import OLDEST_MIGRATED, SCHEMA_VERSION
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.errors import IncompatibleGrid
from htcgrid_core.local.directory import Directory
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import everything
from tests.compatibility.left_behind import HERE, LeftBehind, unpack_local

PROCESSES = 8


@pytest.fixture
def left(tmp_path: Path) -> LeftBehind:
    return unpack_local(tmp_path)


@pytest.fixture
def path(left: LeftBehind, tmp_path: Path) -> Path:
    return Directory(tmp_path / "grid").database


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return migrations.version_of(db)


def shape(path: Path) -> dict[str, object]:
    """Tables with their columns, indexes and triggers, in no order."""
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        columns = {table: sorted(row[1:] for row in db.execute(f"PRAGMA table_xinfo({table})")) for table in tables}
        others = {
            name: re.sub(r"\s+", " ", sql)
            for name, sql in db.execute("SELECT name, sql FROM sqlite_schema WHERE type <> 'table' AND sql NOTNULL")
        }
    return {**columns, **others}


def test_it_becomes_what_a_new_one_is(path: Path, tmp_path: Path) -> None:
    assert version(path) == OLDEST_MIGRATED < SCHEMA_VERSION
    Database(path)
    Database(tmp_path / "new.db")
    assert version(path) == version(tmp_path / "new.db") == SCHEMA_VERSION
    assert shape(path) == shape(tmp_path / "new.db")


def test_every_statement_of_the_release_before_is_still_valid(path: Path) -> None:
    """Its agents go on beside a newer client: what they do was recorded when this directory was made."""
    Database(path)
    statements = json.loads((HERE / "statements.json").read_text())
    assert len(statements) > 30
    with closing(sqlite3.connect(path)) as db:
        for sql in statements:
            parameters = max([sql.count("?"), *map(int, re.findall(r"\?(\d+)", sql))])
            _explain(db, sql, parameters)


def test_an_agent_of_the_release_before_is_seen_beside_others(path: Path) -> None:
    """What it does not tell is unknown, also after an agent of this release had its row."""
    store = SqliteStore(Database(path))
    (beat,) = [
        s for s in json.loads((HERE / "statements.json").read_text()) if s.startswith("INSERT OR REPLACE INTO a")
    ]
    of_today = AgentRecord(
        "b", "default", "host", 2, 4, 1, 1000.0, started_at=10.0, memory_bytes=1, memory_limit_bytes=2
    )
    store.beat(of_today)
    store.beat(replace(of_today, agent_id="a"))
    with closing(sqlite3.connect(path)) as db:
        db.execute(beat, ("a", "default", "host", 1, 4, 1, 1000.0, ""))
        db.commit()
    assert store.agents(1000.0) == [AgentRecord("a", "default", "host", 1, 4, 1, 1000.0), of_today]


def _explain(db: sqlite3.Connection, sql: str, most: int) -> None:
    """Raises unless the statement can be prepared; ``?1`` may be named several times."""
    for count in range(most, -1, -1):
        with contextlib.suppress(sqlite3.ProgrammingError):  # another number of parameters
            db.execute(f"EXPLAIN {sql}", (0,) * count)
            return
    pytest.fail(f"no number of parameters suits {sql}")


def _open(path: Path, go: Callable[[], object]) -> None:
    go()
    Database(path)


def test_many_processes_at_once_take_each_step_once(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(PROCESSES)
    processes = [context.Process(target=_open, args=(path, barrier.wait)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    with closing(sqlite3.connect(path)) as db:
        taken = [number for (number,) in db.execute("SELECT version FROM migrations")]
    assert taken == list(range(OLDEST_MIGRATED + 1, SCHEMA_VERSION + 1))


def _open_and_die(path: Path, at: int) -> None:
    """Open the database, and be killed before statement ``at`` of the migration."""
    seen = 0

    def count(sql: str) -> None:
        nonlocal seen
        seen += sql.strip().startswith(("BEGIN", "ALTER", "CREATE", "INSERT", "PRAGMA user_version =", "COMMIT"))
        if seen > at:
            os.kill(os.getpid(), signal.SIGKILL)

    real = migrations.bring_up_to_date

    def traced(connection: sqlite3.Connection, where: str) -> None:
        connection.set_trace_callback(count)
        real(connection, where)

    sys.modules["htcgrid_core.adapters.local.sqlite.database"].bring_up_to_date = traced  # type: ignore[attr-defined]
    Database(path)


@pytest.mark.parametrize("at", range(6))
def test_killed_on_the_way_it_is_what_it_was(path: Path, left: LeftBehind, at: int) -> None:
    process = multiprocessing.get_context("fork").Process(target=_open_and_die, args=(path, at))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert version(path) == OLDEST_MIGRATED
    store = SqliteStore(Database(path))
    assert version(path) == SCHEMA_VERSION
    assert {row.session_id for row in store.sessions(0.0)} == set(left.sessions.values())


def test_a_step_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shape(path)
    steps = {OLDEST_MIGRATED: migrations.STEPS[OLDEST_MIGRATED] + "CREATE TABLE sessions (x);"}
    monkeypatch.setattr(migrations, "STEPS", steps)
    with pytest.raises(Exception, match="already exists"):
        Database(path)
    assert (version(path), shape(path)) == (OLDEST_MIGRATED, before)


def newer(path: Path, oldest_reader: int) -> int:
    """Make a database one of the next release; its schema."""
    number = SCHEMA_VERSION + 1
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE sessions ADD COLUMN of_tomorrow TEXT NOT NULL DEFAULT 'x'")
        db.execute("INSERT INTO migrations VALUES (?, ?, '7.8.9', 0)", (number, oldest_reader))
        db.execute(f"PRAGMA user_version = {number}")
        db.commit()
    return number


def test_a_newer_one_that_this_release_may_use_is_used(tmp_path: Path) -> None:
    path = tmp_path / "grid.db"
    store = SqliteStore(Database(path))
    given.running(store, [2])
    before = everything(store)
    number = newer(path, SCHEMA_VERSION)
    store = SqliteStore(Database(path))
    assert everything(store) == before
    store.commit(given.commit(given.claimed(store, "00000000"), [0, 1]))
    assert version(path) == number


def test_a_newer_one_that_it_may_not_use_says_which_release_may(tmp_path: Path) -> None:
    path = tmp_path / "grid.db"
    Database(path)
    number = newer(path, SCHEMA_VERSION + 1)
    with pytest.raises(IncompatibleGrid, match=rf"{path} was written by htcgrid 7\.8\.9: its schema is {number}.*use"):
        Database(path)


def test_one_from_before_is_refused(path: Path) -> None:
    number = OLDEST_MIGRATED - 1
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {number}")
    with pytest.raises(IncompatibleGrid, match=rf"early version .* schema is {number}, .*from {OLDEST_MIGRATED} on"):
        Database(path)
    assert version(path) == number
