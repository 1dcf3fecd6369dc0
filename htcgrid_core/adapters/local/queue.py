"""The queue of the local grid: the bundles table itself, so a message cannot be lost, doubled or dead-lettered."""

from __future__ import annotations

from collections.abc import Sequence

from htcgrid_core.adapters.local.database import Database
from htcgrid_core.ports.bundle_queue import Hint, Message, Received


class TableQueue:
    """Derives hints from the bundles that are ready."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def send(self, pool: str, hints: Sequence[Hint]) -> None:
        """Nothing: the rows are the messages."""

    def receive(self, pool: str, limit: int, now: float) -> Received:
        """Bundles whose lease lapsed, then the first ready ones by rank; if none, when the next delayed one is due."""
        wake_at = None
        with self._database.read() as connection:
            # Those that lapsed come first, or a dead agent's tasks would wait for the end of every other session; no
            # more than half, since those of a session that is being cancelled cannot be claimed.
            rows = connection.execute(
                "SELECT * FROM (SELECT session_id, id, not_before FROM bundles INDEXED BY bundles_lapsed"
                " WHERE pool = ?1 AND state = 'LEASED' AND lease_until <= ?2 ORDER BY lease_until LIMIT ?3)"
                " UNION ALL SELECT * FROM (SELECT session_id, id, not_before FROM bundles INDEXED BY bundles_ready"
                " WHERE pool = ?1 AND state = 'READY' AND not_before <= ?2 ORDER BY rank LIMIT ?4)",
                (pool, now, max(1, limit // 2), limit),
            ).fetchall()[:limit]
            if not rows:
                (wake_at,) = connection.execute(
                    "SELECT min(not_before) FROM bundles INDEXED BY bundles_delayed"
                    " WHERE pool = ? AND state = 'READY' AND not_before > 0 AND not_before > ?",
                    (pool, now),
                ).fetchone()
        return Received([Message(Hint(*row)) for row in rows], wake_at)

    def may_have_lost(self, pool: str) -> bool:
        """The rows are the messages."""
        return False

    def front(self, pool: str) -> float:
        """The lowest rank that is ready, or the highest that runs if that is lower: nothing behind it had its turn."""
        with self._database.read() as connection:
            found = connection.execute(
                "SELECT (SELECT min(rank) FROM bundles INDEXED BY bundles_ready WHERE pool = ?1 AND state = 'READY'),"
                " (SELECT max(rank) FROM bundles INDEXED BY bundles_lapsed WHERE pool = ?1 AND state = 'LEASED')",
                (pool,),
            ).fetchone()
        return float(min((rank for rank in found if rank is not None), default=0.0))

    def sharers(self, pool: str, tenant: str) -> int:
        """Live sessions of a tenant: their ids begin with its name and a dot, behind which a slash comes next."""
        with self._database.read() as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM sessions INDEXED BY sessions_live"
                " WHERE live = 1 AND id > ? AND id < ? AND pool = ?",
                (f"{tenant}.", f"{tenant}/", pool),
            ).fetchone()
        return int(count)

    def delete(self, messages: Sequence[Message]) -> None:
        """Nothing: a bundle that is done is not ready."""

    def extend(self, messages: Sequence[Message], seconds: float) -> None:
        """Nothing: a bundle that is leased is not ready."""
