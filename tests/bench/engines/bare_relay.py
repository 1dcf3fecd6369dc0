"""The least that could keep a grid's promises: client, agent and worker in three processes, each step a transaction.

Submit, claim and commit are one bare SQLite transaction each, with the grid's journal and its sync; one byte in a named
pipe wakes who waits. There are no leases that lapse, retries, limits, checks or bundles. What a lone task takes here,
no grid of this shape takes less than, in this language on this machine.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.bench.engines.base import Closing, Task
from tests.bench.events import Event

SCHEMA = """
CREATE TABLE sessions (id INTEGER PRIMARY KEY, state TEXT NOT NULL, spec TEXT NOT NULL, completed INTEGER NOT NULL);
CREATE TABLE bundles (session_id INTEGER PRIMARY KEY, state TEXT NOT NULL, owner TEXT, events BLOB NOT NULL);
CREATE INDEX bundles_ready ON bundles(session_id) WHERE state = 'READY';
CREATE TABLE outcomes (session_id INTEGER PRIMARY KEY, result BLOB NOT NULL);
"""


def _connect(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "relay.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _bell(folder: Path, name: str) -> int:
    return os.open(folder / name, os.O_RDWR | os.O_CLOEXEC)


def _agent(folder: Path) -> None:
    """Claim, have it run, commit; again and again."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    context.Process(target=_worker, args=(there,), daemon=True).start()
    there.close()
    database, work, done = _connect(folder), _bell(folder, "work"), _bell(folder, "done")
    os.write(done, b"!")
    while os.read(work, 4096):
        while claimed := _claim(database):
            session_id, spec, events = claimed
            here.send_bytes(spec.encode() + b"\n" + events)
            _commit(database, session_id, here.recv_bytes())
            os.write(done, b"!")


def _claim(database: sqlite3.Connection) -> tuple[int, str, bytes] | None:
    ready = database.execute("SELECT session_id FROM bundles WHERE state = 'READY' ORDER BY session_id LIMIT 1")
    if (found := ready.fetchone()) is None:
        return None
    database.execute("BEGIN IMMEDIATE")
    (events,) = database.execute(
        "UPDATE bundles SET state = 'LEASED', owner = 'agent' WHERE session_id = ? RETURNING events", found
    ).fetchone()
    (spec,) = database.execute("SELECT spec FROM sessions WHERE id = ?", found).fetchone()
    database.execute("COMMIT")
    return found[0], spec, events


def _commit(database: sqlite3.Connection, session_id: int, result: bytes) -> None:
    database.execute("BEGIN IMMEDIATE")
    database.execute("UPDATE bundles SET state = 'DONE' WHERE session_id = ?", (session_id,))
    database.execute("INSERT INTO outcomes VALUES (?, ?)", (session_id, result))
    database.execute("UPDATE sessions SET state = 'COMPLETED', completed = 1 WHERE id = ?", (session_id,))
    database.execute("COMMIT")


def _worker(connection: Connection) -> None:
    """Run what comes, until the agent is gone."""
    functions: dict[str, Callable[[Any], Any]] = {}
    while True:
        try:
            head, _, events = connection.recv_bytes().partition(b"\n")
        except EOFError:
            return
        spec = head.decode()
        if spec not in functions:
            module, _, name = spec.rpartition(".")
            functions[spec] = getattr(importlib.import_module(module), name)
        connection.send_bytes(json.dumps(functions[spec](json.loads(events))).encode())


class BareRelay(Closing):
    """One agent with one worker; for lone tasks."""

    def __init__(self, workers: int) -> None:
        """Start the agent; one worker is enough for one task at a time."""
        self.folder = tempfile.TemporaryDirectory(prefix="bench-relay-", ignore_cleanup_errors=True)
        folder = Path(self.folder.name)
        self.database = _connect(folder)
        self.database.executescript(SCHEMA)
        for name in ("work", "done"):
            os.mkfifo(folder / name)
        self.work, self.done = _bell(folder, "work"), _bell(folder, "done")
        self.agent = multiprocessing.get_context("spawn").Process(target=_agent, args=(folder,))
        self.agent.start()
        os.read(self.done, 4096)

    def run(self, task: Task, events: Sequence[Event]) -> list[Any]:
        """One after another."""
        return [self.one(task, event) for event in events]

    def one(self, task: Task, event: Event) -> Any:
        """Submit, make it durable while the agent begins, and wait for the result."""
        database, data = self.database, json.dumps(event).encode()
        database.execute("BEGIN IMMEDIATE")
        session_id = database.execute(
            "INSERT INTO sessions (state, spec, completed) VALUES ('RUNNING', ?, 0)",
            (f"{task.__module__}.{task.__qualname__}",),
        ).lastrowid
        database.execute("INSERT INTO bundles (session_id, state, events) VALUES (?, 'READY', ?)", (session_id, data))
        database.execute("COMMIT")
        os.write(self.work, b"!")
        log = os.open(f"{self.folder.name}/relay.db-wal", os.O_RDONLY | os.O_CLOEXEC)
        os.fdatasync(log)
        os.close(log)
        while True:
            found = database.execute("SELECT result FROM outcomes WHERE session_id = ?", (session_id,)).fetchone()
            if found is not None:
                return json.loads(found[0])
            os.read(self.done, 4096)

    def close(self) -> None:
        """Stop the agent; its worker is a daemon of it."""
        self.agent.terminate()
        self.agent.join()
        self.database.close()
        os.close(self.work)
        os.close(self.done)
        self.folder.cleanup()
