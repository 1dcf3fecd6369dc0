"""A spool: rows put on disk in any order and read in that of their keys, in little memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

from htcgrid_core.domain.errors import GridUnavailable

_BATCH = 1000


class Spool:
    """Pairs of a key and bytes in a temporary database, which is gone when it is closed; a context manager.

    Keys are all integers or all bytes. Equal ones are kept, each with its bytes.
    """

    def __init__(self) -> None:
        import sqlite3

        self._error = sqlite3.Error
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # a file without a name
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("CREATE TABLE spool (key, data BLOB)")

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete it."""
        self._database.close()

    def put(self, rows: Iterable[tuple[Any, bytes]]) -> None:
        """Add rows.

        Raises:
            GridUnavailable: there is no room for them.
        """
        rows = iter(rows)
        while batch := list(itertools.islice(rows, _BATCH)):
            try:
                self._database.execute("BEGIN")
                self._database.executemany("INSERT INTO spool VALUES (?, ?)", batch)
                self._database.execute("COMMIT")
            except self._error as error:
                raise GridUnavailable(f"rows cannot be staged in the directory for temporary files: {error}") from error

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM spool").fetchone()[0])

    def __iter__(self) -> Iterator[tuple[Any, bytes]]:
        """All rows by their keys."""
        try:
            yield from self._database.execute("SELECT key, data FROM spool ORDER BY key")
        except self._error as error:
            raise GridUnavailable(f"staged rows cannot be sorted or read: {error}") from error
