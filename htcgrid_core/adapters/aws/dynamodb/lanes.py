"""How many lanes a session has: so many that transactions of all agents that its pool can reach seldom meet.

A lane is a partition of several over which a session's bundles and counters are spread: write sharding, as DynamoDB's
documents call it.
"""

from __future__ import annotations

import orjson

FEWEST, MOST = 8, 96
AGENTS_A_LANE = 4  # that commit every few seconds each, in 10 ms


def lanes_of(spec: str) -> int:
    """Of a session that is not written in one step; reading them all costs a unit each."""
    agents = int(orjson.loads(spec)["agents"])
    return max(FEWEST, min(MOST, agents // AGENTS_A_LANE))
