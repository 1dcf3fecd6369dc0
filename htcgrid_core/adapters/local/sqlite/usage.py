"""What agents have measured of functions, and the sizes of their pools, on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from htcgrid_core.adapters.local.sqlite.database import Database, reads
from htcgrid_core.domain import limits
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.usage import FunctionUsage, usage_of_text

LEFT = ""  # in the place of an agent's name: all that have left


class UsageRows:
    """One row for each function and agent; and one for each pool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @reads
    def pools(self, db: sqlite3.Connection) -> list[PoolSize]:
        """The sizes of pools whose agents have told them, by name."""
        return [PoolSize(*row) for row in db.execute("SELECT pool, memory_mb, cpus FROM pools ORDER BY pool")]

    @reads
    def usage(self, db: sqlite3.Connection, prefix: str, now: float) -> list[FunctionUsage]:
        """What agents have measured of functions whose names begin so."""
        found = db.execute(
            "SELECT function, body FROM usage WHERE function >= ?1 AND substr(function, 1, length(?1)) = ?1"
            " AND at > ?2 ORDER BY function, agent",
            (prefix, now - limits.USAGE_KEPT_SECONDS),
        ).fetchall()
        return [usage for function, body in found if (usage := usage_of_text(function, body)) is not None]


def put_size(db: sqlite3.Connection, size: PoolSize) -> None:
    """Write a pool's size."""
    db.execute(
        "INSERT OR REPLACE INTO pools (pool, memory_mb, cpus) VALUES (?, ?, ?)", (size.pool, size.memory_mb, size.cpus)
    )


def put_usage(db: sqlite3.Connection, agent_id: str, usages: Sequence[FunctionUsage], now: float) -> None:
    """Write an agent's sums."""
    db.executemany(
        "INSERT OR REPLACE INTO usage (function, agent, at, body) VALUES (?, ?, ?, ?)",
        [(usage.function, agent_id, usage.at, usage.text()) for usage in usages],
    )
    db.execute("DELETE FROM usage WHERE at < ?", (now - limits.USAGE_KEPT_SECONDS,))


def keep_of_left(db: sqlite3.Connection, agent_id: str) -> None:
    """Add an agent's sums to those of all that have left, or agents that come and go would leave rows without end."""
    mine = db.execute("SELECT function, body FROM usage WHERE agent = ?", (agent_id,)).fetchall()
    for function, body in mine:
        before = db.execute("SELECT body FROM usage WHERE function = ? AND agent = ?", (function, LEFT)).fetchone()
        known = usage_of_text(function, before[0]) if before else None
        if (usage := usage_of_text(function, body)) is not None:
            put_usage(db, LEFT, [usage if known is None else known.plus(usage)], usage.at)
    db.execute("DELETE FROM usage WHERE agent = ?", (agent_id,))
