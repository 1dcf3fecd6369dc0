"""Agents as others see them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """What an agent last said of itself; ``problem`` is why its workers cannot start, if so."""

    agent_id: str
    pool: str
    host: str
    pid: int
    slots: int
    busy: int
    beat_at: float
    problem: str = ""
