"""Checkpoints beside the work: what was committed moves from the write-ahead log into the database.

By itself, SQLite has whoever commits the thousandth page move them all and wait for the disk; a task that such a commit
belongs to takes 50 ms longer than the others.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from functools import partial
from types import TracebackType

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.domain.errors import GridError

_log = logging.getLogger(__name__)

EVERY_SECONDS = 0.5


class Checkpoints:
    """A thread that checkpoints a database while this context is open, if there is anything to move."""

    def __init__(self, database: Database, every_seconds: float = EVERY_SECONDS) -> None:
        self._database = database
        self._every_seconds = every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="htcgrid-checkpoints", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        moved = None
        while not self._over.wait(self._every_seconds):
            try:
                moved = self._database.read(partial(_checkpoint, moved))
            except GridError as error:  # the next one may do better; until then, the log grows
                _log.warning("the write-ahead log could not be moved into %s: %s", self._database.path, error)
        self._database.close()


def _checkpoint(moved: int | None, connection: sqlite3.Connection) -> int | None:
    """Checkpoint unless nobody has committed since version ``moved``; the version that is moved whole now."""
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    if version == moved:
        return moved
    # PASSIVE waits for nobody, and nobody waits for it.
    is_blocked, pages, pages_moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return version if not is_blocked and pages == pages_moved else None
