"""The journal: which ranges of a stream were cut, each written before it is submitted, and which are not settled."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from htcgrid_core.disk.private import make_private
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput

_SCHEMA = """
CREATE TABLE IF NOT EXISTS stream (name TEXT NOT NULL, consumer TEXT NOT NULL, since REAL);
CREATE TABLE IF NOT EXISTS partitions (
  name TEXT PRIMARY KEY, position TEXT, records INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS ranges (
  number INTEGER PRIMARY KEY, partition TEXT NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL,
  records INTEGER NOT NULL, session TEXT
);
"""


@dataclass(frozen=True, slots=True)
class Range:
    """Records of one partition that become one session.

    Attributes:
        number: in the journal, in the order of cutting.
        first, last: positions, both in it.
        records: how many there are.
        session: id of the session that was acknowledged for it; None before.
    """

    number: int
    partition: str
    first: str
    last: str
    records: int
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a partition is.

    Attributes:
        position: the last record of the last range that was cut; None before the first.
        records: in all ranges that were cut.
        ended: it gets no more records, and all were cut.
    """

    position: str | None = None
    records: int = 0
    ended: bool = False


def journal_path(folder: Path, stream: str, consumer: str) -> Path:
    """Where the journal of a stream's consumer lies in a folder of journals."""
    return folder / f"{hashlib.blake2b(f'{stream} {consumer}'.encode(), digest_size=12).hexdigest()}.db"


class Journal:
    """One stream's, for one consumer: whoever has it open to write keeps others out.

    Args:
        since: kept at its first opening: what records of partitions without a position are begun with; None for the
            oldest.

    Raises:
        InvalidInput: another process consumes this.
        GridUnavailable: it cannot be written.
    """

    def __init__(self, path: Path, stream: str, consumer: str, since: float | None) -> None:
        self._path = path
        try:
            make_private(path.parent)
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidInput(f"{path.parent} cannot keep how far {stream} is: {error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise InvalidInput(
                f"another process on this machine consumes {stream} as {consumer!r}; name another consumer to have "
                "all its records a second time"
            ) from error
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")  # a range that is forgotten would be cut anew, otherwise
            self._database.executescript(_SCHEMA)
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                if not self._database.execute("SELECT 1 FROM stream").fetchone():
                    self._database.execute("INSERT INTO stream VALUES (?, ?, ?)", (stream, consumer, since))
        except sqlite3.Error as error:
            os.close(self._lock)
            raise GridUnavailable(f"{path}, which says how far {stream} is, cannot be used: {error}") from error

    def close(self) -> None:
        """Let others have it."""
        self._database.close()
        os.close(self._lock)

    @property
    def since(self) -> float | None:
        """Where partitions without a position begin."""
        since: float | None = self._database.execute("SELECT since FROM stream").fetchone()[0]
        return since

    def reached(self) -> dict[str, Reached]:
        """How far each partition is that was ever seen to have a record or an end."""
        return _reached(self._database)

    def open_ranges(self) -> list[Range]:
        """Those that are not settled, in the order of cutting."""
        return _ranges(self._database)

    def cut(self, partition: str, first: str, last: str, records: int) -> Range:
        """Write a range down, before anything is submitted of it."""
        with self._writing(), self._database as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(
                "INSERT INTO partitions (name, position, records) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "position = excluded.position, records = partitions.records + excluded.records",
                (partition, last, records),
            )
            number = database.execute(
                "INSERT INTO ranges (partition, first, last, records) VALUES (?, ?, ?, ?)",
                (partition, first, last, records),
            ).lastrowid
        assert number is not None
        return Range(number, partition, first, last, records)

    def submitted(self, one: Range, session: str) -> Range:
        """Its session was acknowledged."""
        with self._writing():
            self._database.execute("UPDATE ranges SET session = ? WHERE number = ?", (session, one.number))
        return replace(one, session=session)

    def settle(self, one: Range) -> None:
        """Nothing is to be done for it any more."""
        with self._writing():
            self._database.execute("DELETE FROM ranges WHERE number = ?", (one.number,))

    def end(self, partition: str) -> None:
        """A partition gets no more records, and all of them were cut."""
        with self._writing():
            self._database.execute(
                "INSERT INTO partitions (name, ended) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET ended = 1",
                (partition,),
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:  # such as a full disk, which passes
            raise GridUnavailable(f"{self._path} cannot be written: {error}") from error


def look_into(path: Path) -> tuple[dict[str, Reached], list[Range], float | None]:
    """What a journal says, also while its consumer runs: partitions, open ranges, and where the others begin.

    Raises:
        InvalidInput: there is none.
    """
    if not path.exists():
        raise InvalidInput("nothing of this stream has been consumed under this name on this machine")
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        since = database.execute("SELECT since FROM stream").fetchone()
        return _reached(database), _ranges(database), since and since[0]
    except sqlite3.Error as error:
        raise GridUnavailable(f"{path} cannot be read: {error}") from error
    finally:
        database.close()


def _reached(database: sqlite3.Connection) -> dict[str, Reached]:
    rows = database.execute("SELECT name, position, records, ended FROM partitions")
    return {name: Reached(position, records, bool(ended)) for name, position, records, ended in rows}


def _ranges(database: sqlite3.Connection) -> list[Range]:
    rows = database.execute("SELECT number, partition, first, last, records, session FROM ranges ORDER BY number")
    return [Range(*row) for row in rows]
