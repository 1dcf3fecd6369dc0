"""What agents say of themselves, on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from htcgrid_core.adapters.local.sqlite.database import Database, reads, writes
from htcgrid_core.adapters.local.sqlite.usage import keep_of_left, put_size, put_usage
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent import begun_as_text, begun_of_text
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.usage import FunctionUsage
from htcgrid_core.ports.session_store import AgentRecord

_COLUMNS = "id, pool, host, pid, slots, busy, beat_at, problem, begun, started_at, memory_bytes, memory_limit_bytes"


class AgentRecords:
    """Who works on this grid: an agent's row is what it last said."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @writes
    def beat(
        self, db: sqlite3.Connection, agent: AgentRecord, size: PoolSize | None, usage: Sequence[FunctionUsage]
    ) -> None:
        """Write what an agent says of itself, of its pool and of what it has measured."""
        if size is not None and size.is_known:
            put_size(db, size)
        if usage:
            put_usage(db, agent.agent_id, usage, agent.beat_at)
        db.execute(
            f"INSERT OR REPLACE INTO agents ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                agent.agent_id,
                agent.pool,
                agent.host,
                agent.pid,
                agent.slots,
                agent.busy,
                agent.beat_at,
                agent.problem,
                begun_as_text(agent.begun),
                agent.started_at,
                agent.memory_bytes,
                agent.memory_limit_bytes,
            ),
        )
        db.execute("DELETE FROM agents WHERE beat_at < ?", (agent.beat_at - 10 * limits.LEASE_SECONDS,))

    @writes
    def forget_agent(self, db: sqlite3.Connection, agent_id: str) -> None:
        """An agent has left."""
        keep_of_left(db, agent_id)
        db.execute("DELETE FROM agents WHERE id = ?", (agent_id,))

    @reads
    def agents(self, db: sqlite3.Connection, now: float) -> list[AgentRecord]:
        """Agents heard of within one lease time."""
        found = db.execute(
            f"SELECT {_COLUMNS} FROM agents WHERE beat_at > ? ORDER BY id",
            (now - limits.LEASE_SECONDS,),
        ).fetchall()
        return [AgentRecord(*(*row[:8], begun_of_text(row[8]), *row[9:])) for row in found]
