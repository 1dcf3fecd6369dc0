"""What the tests run in other processes: clients of one local grid. Imports no pytest, so that they start quickly."""

from __future__ import annotations

import sqlite3
import sys
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

from htcgrid_core.adapters.local.doorbell import FifoDoorbell
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.session_store import Claimed
from htcgrid_core.testing.contracts import given


def claim_and_commit(path: str, client: int, bundles: int, start: Barrier, won: Queue[list[int]]) -> None:
    """Claim every bundle, commit what was granted, and tell which."""
    store = SqliteStore(Database(path))
    mine = []
    start.wait(60)
    for step in range(bundles):
        number = (step + client * 7) % bundles
        answer = given.claim(store, root_id(number), f"{client}-{number}", owner=f"agent-{client}")
        if isinstance(answer, Claimed):
            store.commit(given.commit(answer, list(answer.bundle.indexes)))
            mine.append(number)
    won.put(mine)


def open_at_once(path: str, start: Barrier, done: Queue[str]) -> None:
    """Open a database that does not exist yet."""
    start.wait(60)
    try:
        Database(path)
        done.put("")
    except Exception as error:
        done.put(repr(error))


def listen(folder: str, listening: Event, heard: Event) -> None:
    """Listen for work, and tell when it rang."""
    bell = FifoDoorbell(Path(folder)).listen(WORK)
    listening.set()
    while not bell.wait(60):
        pass
    heard.set()
    bell.close()


def begin_and_hang(path: str, written: Event, never: Event) -> None:
    """Be in the middle of a write, for ever."""
    store = SqliteStore(Database(path))

    def write(db: sqlite3.Connection) -> None:
        db.execute("UPDATE sessions SET completed = 99")
        db.execute("DELETE FROM bundles")
        written.set()
        never.wait(600)
        sys.exit("nobody killed it")

    store._database.write(write)
