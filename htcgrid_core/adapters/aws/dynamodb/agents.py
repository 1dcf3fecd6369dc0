"""What agents say of themselves, on DynamoDB.

A small fleet is one partition, read in one call. Of a large one, every agent writes to one of several, so that none is
asked for more than DynamoDB gives; newcomers write to the first until they know how large the fleet is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT, TTL
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.usage import size_items, usage_items
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent import begun_as_text, begun_of_text
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.usage import FunctionUsage
from htcgrid_core.ports.session_store import AgentRecord

PARTS = 8
LARGE_FLEET = 1000  # agents, from which on they write to all parts
FEW_IN_FIRST = 60  # that many or less in the first part, an eighth of a large fleet and more, mean that it is not large


class AgentRecords:
    """Writes, reads and deletes agents' records."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._fleet = 0  # agents that there were when they were last read
        self._size: PoolSize | None = None  # that was told last
        self._parts: dict[str, int] = {}  # where agents of this process wrote last

    def beat(self, agent: AgentRecord, size: PoolSize | None, usage: Sequence[FunctionUsage]) -> None:
        """Write what an agent says of itself, of its pool (once) and of what it has measured, in one call."""
        before, part = self._parts.get(agent.agent_id), part_of(agent.agent_id, self._fleet)
        self._table.put_many(
            [
                {
                    PARTITION: _partition(part), SORT: agent.agent_id, "pool": agent.pool, "host": agent.host,
                    "pid": agent.pid, "slots": agent.slots, "busy": agent.busy, "beat": agent.beat_at,
                    "problem": agent.problem, "begun": begun_as_text(agent.begun), "started": agent.started_at,
                    "mem": agent.memory_bytes, "memmax": agent.memory_limit_bytes,
                    TTL: int(agent.beat_at + 10 * limits.LEASE_SECONDS),
                },
                *([] if size == self._size else size_items(size)),
                *usage_items(agent.agent_id, usage, agent.beat_at),
            ]
        )  # fmt: skip
        self._parts[agent.agent_id] = part
        self._size = size or self._size
        if before not in (None, part):
            self._table.delete((_partition(before), agent.agent_id))

    def forget(self, agent_id: str) -> None:
        """An agent has left."""
        part = self._parts.pop(agent_id, part_of(agent_id, self._fleet))
        self._table.delete((_partition(part), agent_id))

    def live(self, now: float) -> list[AgentRecord]:
        """Agents heard of within one lease time; it may lag by a second, for half the price."""
        found = list(self._read(0))
        if len(found) > FEW_IN_FIRST:
            found += [item for part in range(1, PARTS) for item in self._read(part)]
        newest = {item[SORT]: item for item in sorted(found, key=lambda item: float(item["beat"]))}
        agents = [
            AgentRecord(
                item[SORT], item["pool"], item["host"], item["pid"], item["slots"], item["busy"], float(item["beat"]),
                item["problem"], begun_of_text(item.get("begun")), _float(item.get("started")), item.get("mem"),
                item.get("memmax"),
            )
            for _, item in sorted(newest.items())
            if item["beat"] > now - limits.LEASE_SECONDS
        ]  # fmt: skip
        self._fleet = len(agents)
        return agents

    def _read(self, part: int) -> Iterator[Item]:
        return self._table.query(_partition(part), "\0", "\U0010ffff", consistent=False)


def part_of(agent_id: str, fleet: int) -> int:
    """Where an agent writes that knows of so many."""
    return zlib.crc32(agent_id.encode()) % PARTS if fleet > LARGE_FLEET else 0


def _float(told: float | None) -> float | None:
    """A number without a fraction is read as an int."""
    return None if told is None else float(told)


def _partition(part: int | None) -> str:
    return f"AGENTS#{part}" if part else "AGENTS"
