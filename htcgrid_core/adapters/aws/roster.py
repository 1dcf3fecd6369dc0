"""What agents say of themselves, on DynamoDB."""

from __future__ import annotations

from htcgrid_core.adapters.aws.rows import Rows
from htcgrid_core.adapters.aws.tables import PARTITION, SORT, TTL
from htcgrid_core.domain import limits
from htcgrid_core.ports.session_store import AgentRecord

_AGENTS = "AGENTS"


class Roster(Rows):
    """The part of the store that knows the agents."""

    def beat(self, agent: AgentRecord) -> None:
        """Write what an agent says of itself."""
        self._table.put_many(
            [
                {
                    PARTITION: _AGENTS, SORT: agent.agent_id, "pool": agent.pool, "host": agent.host, "pid": agent.pid,
                    "slots": agent.slots, "busy": agent.busy, "beat": agent.beat_at, "problem": agent.problem,
                    TTL: int(agent.beat_at + 10 * limits.LEASE_SECONDS),
                }
            ]
        )  # fmt: skip

    def forget_agent(self, agent_id: str) -> None:
        """An agent has left."""
        self._table.delete((_AGENTS, agent_id))

    def agents(self, now: float) -> list[AgentRecord]:
        """Agents heard of within one lease time; it may lag by a second, for half the price."""
        return [
            AgentRecord(
                item[SORT], item["pool"], item["host"], item["pid"], item["slots"], item["busy"], float(item["beat"]),
                item["problem"],
            )
            for item in self._table.query(_AGENTS, "\0", "\U0010ffff", consistent=False)
            if item["beat"] > now - limits.LEASE_SECONDS
        ]  # fmt: skip
