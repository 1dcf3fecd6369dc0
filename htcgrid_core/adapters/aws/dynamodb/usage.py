"""What agents have measured of functions, and the sizes of their pools, on DynamoDB.

An agent's sums are items of their own, which go with its record in one call: nobody adds to another's, so that none is
counted twice. Those of agents that have left expire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT, TTL
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.domain import limits
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.usage import FunctionUsage, usage_of_text

POOLS, USAGE = "POOLS", "USAGE"  # partitions
NAME_CHARACTERS = 200  # of a function, in a sort key, which has 1,024 bytes at most
FIRST, LAST = "\0", "\U0010ffff"


class UsageRows:
    """Reads them; agents' records write them."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def pools(self) -> list[PoolSize]:
        """The sizes of pools whose agents have told them, by name."""
        found = self._table.query(POOLS, FIRST, LAST, consistent=False)
        return [PoolSize(item[SORT], item.get("mb"), _float(item.get("cpus"))) for item in found]

    def usage(self, prefix: str, now: float) -> list[FunctionUsage]:
        """What agents have measured of functions whose names begin so."""
        begin = prefix[:NAME_CHARACTERS]
        found = self._table.query(USAGE, begin or FIRST, begin + LAST, consistent=False)
        told = [
            usage_of_text(item["fn"], item["use"])
            for item in found
            if item["fn"].startswith(prefix) and item["at"] > now - limits.USAGE_KEPT_SECONDS
        ]
        return [usage for usage in told if usage is not None]


def size_items(size: PoolSize | None) -> list[Item]:
    """What says how large a pool's slots are, if anybody does."""
    if size is None or not size.is_known:
        return []
    item = {PARTITION: POOLS, SORT: size.pool, "mb": size.memory_mb, "cpus": size.cpus}
    return [{name: value for name, value in item.items() if value is not None}]


def usage_items(agent_id: str, usages: Sequence[FunctionUsage], now: float) -> list[Item]:
    """An agent's sums."""
    return [
        {
            PARTITION: USAGE, SORT: _sort_key(usage.function, agent_id), "fn": usage.function, "use": usage.text(),
            "at": usage.at, TTL: int(now + limits.USAGE_KEPT_SECONDS),
        }
        for usage in usages
    ]  # fmt: skip


def _sort_key(function: str, agent_id: str) -> str:
    digest = hashlib.blake2b(f"{function}|{agent_id}".encode(), digest_size=12).hexdigest()
    return f"{function[:NAME_CHARACTERS]}|{digest}"


def _float(value: object) -> float | None:
    return None if value is None else float(str(value))
