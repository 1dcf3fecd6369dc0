"""The queue of the local grid: the bundles table itself, so a message cannot be lost, doubled or dead-lettered."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

from htcgrid_core.adapters.local.sqlite.database import Database, reads
from htcgrid_core.adapters.local.sqlite.lines import lines_of
from htcgrid_core.ports.bundle_queue import Hint, Message, Received


class TableQueue:
    """Derives hints from the bundles that are ready."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def send(self, pool: str, hints: Sequence[Hint]) -> None:
        """Nothing: the rows are the messages."""

    @reads
    def receive(self, connection: sqlite3.Connection, pool: str, limit: int, now: float) -> Received:
        """Bundles whose lease lapsed, then the first ready ones by rank; and when the next delayed one is due."""
        most_lapsed, lines = max(1, limit // 2), lines_of(pool)
        mine = _one_of(len(lines), 4)
        # Those that lapsed come first, or a dead agent's tasks would wait for the end of every other session; no
        # more than half, since those of a session that is being cancelled cannot be claimed.
        *rows, (_, _, wake_at, lapsed) = connection.execute(
            "WITH lapsed AS (SELECT session_id, id, not_before FROM bundles INDEXED BY bundles_lapsed"
            f" WHERE pool IN {mine} AND state = 'LEASED' AND lease_until <= ?1 ORDER BY lease_until LIMIT ?2)"
            " SELECT *, 0 FROM lapsed"
            " UNION ALL SELECT *, 0 FROM (SELECT session_id, id, not_before FROM bundles INDEXED BY bundles_ready"
            f" WHERE pool IN {mine} AND state = 'READY' AND not_before <= ?1 ORDER BY rank LIMIT ?3)"
            " UNION ALL SELECT '', '', (SELECT min(not_before) FROM bundles INDEXED BY bundles_delayed"
            f" WHERE pool IN {mine} AND state = 'READY' AND not_before > 0 AND not_before > ?1),"
            " (SELECT count(*) FROM lapsed)",
            (now, most_lapsed, limit, *lines),
        )
        is_all = len(rows) < limit and lapsed < most_lapsed
        return Received([Message(Hint(*row[:3])) for row in rows[:limit]], wake_at, is_all)

    def may_have_lost(self, pool: str) -> bool:
        """The rows are the messages."""
        return False

    @reads
    def front(self, connection: sqlite3.Connection, pool: str) -> float:
        """The lowest rank that is ready, or the highest that runs if that is lower: nothing behind it had its turn."""
        lines = lines_of(pool)
        mine = _one_of(len(lines), 1)
        (rank,) = connection.execute(
            "SELECT min(rank) FROM"
            " (SELECT min(rank) AS rank FROM bundles INDEXED BY bundles_ready"
            f" WHERE pool IN {mine} AND state = 'READY' UNION ALL"
            f" SELECT max(rank) FROM bundles INDEXED BY bundles_lapsed WHERE pool IN {mine} AND state = 'LEASED')",
            lines,
        ).fetchone()
        return float(rank or 0.0)

    @reads
    def sharers(self, connection: sqlite3.Connection, pool: str, tenant: str) -> int:
        """Live sessions of a tenant: their ids begin with its name and a dot, behind which a slash comes next."""
        (count,) = connection.execute(
            "SELECT count(*) FROM sessions INDEXED BY sessions_live WHERE live = 1 AND id > ? AND id < ? AND pool = ?",
            (f"{tenant}.", f"{tenant}/", pool),
        ).fetchone()
        return int(count)

    def delete(self, messages: Sequence[Message]) -> None:
        """Nothing: a bundle that is done is not ready."""

    def extend(self, messages: Sequence[Message], seconds: float) -> None:
        """Nothing: a bundle that is leased is not ready."""


@lru_cache(maxsize=64)
def _one_of(lines: int, first: int) -> str:
    """The right side of IN for so many parameters, which begin with number ``first``."""
    return "(" + ", ".join(f"?{first + at}" for at in range(lines)) + ")"
