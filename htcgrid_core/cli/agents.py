"""What an agent tells of itself, for people: what its release does not tell is unknown, and not 0."""

from __future__ import annotations

from htcgrid_core.cli.output import duration, memory_size
from htcgrid_core.domain.agent import AgentRecord

UNKNOWN = "unknown"


def memory_of(agent: AgentRecord) -> str:
    """What it and its workers take together, and what they may: 412 MiB of 1.9 GiB."""
    used, limit = agent.memory_bytes, agent.memory_limit_bytes
    if used is None and limit is None:
        return UNKNOWN
    of = "" if limit is None else f" of {memory_size(limit)}"
    return f"{UNKNOWN if used is None else memory_size(used)}{of}"


def age_of(agent: AgentRecord, now: float) -> str:
    """For how long it has run, at a wall-clock time (s)."""
    return UNKNOWN if agent.started_at is None else duration(max(0.0, now - agent.started_at))
