"""What agents say of themselves, on SQLite."""

from __future__ import annotations

import sqlite3

from htcgrid_core.adapters.local.sqlite.database import Database, reads, writes
from htcgrid_core.domain import limits
from htcgrid_core.ports.session_store import AgentRecord


class AgentRecords:
    """Who works on this grid: an agent's row is what it last said."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @writes
    def beat(self, db: sqlite3.Connection, agent: AgentRecord) -> None:
        """Write what an agent says of itself."""
        db.execute(
            "INSERT OR REPLACE INTO agents (id, pool, host, pid, slots, busy, beat_at, problem)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                agent.agent_id,
                agent.pool,
                agent.host,
                agent.pid,
                agent.slots,
                agent.busy,
                agent.beat_at,
                agent.problem,
            ),
        )
        db.execute("DELETE FROM agents WHERE beat_at < ?", (agent.beat_at - 10 * limits.LEASE_SECONDS,))

    @writes
    def forget_agent(self, db: sqlite3.Connection, agent_id: str) -> None:
        """An agent has left."""
        db.execute("DELETE FROM agents WHERE id = ?", (agent_id,))

    @reads
    def agents(self, db: sqlite3.Connection, now: float) -> list[AgentRecord]:
        """Agents heard of within one lease time."""
        found = db.execute(
            "SELECT id, pool, host, pid, slots, busy, beat_at, problem FROM agents WHERE beat_at > ? ORDER BY id",
            (now - limits.LEASE_SECONDS,),
        ).fetchall()
        return [AgentRecord(*row) for row in found]
