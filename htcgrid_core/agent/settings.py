"""Who an agent is, and its times."""

from __future__ import annotations

from dataclasses import dataclass

from htcgrid_core.domain import limits
from htcgrid_core.domain.pool import PoolSize

LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """Who an agent is."""

    agent_id: str
    pool: str = "default"
    host: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """An agent's times, in seconds.

    ``longest_task_seconds``: that a task may take, whatever its session allows: an agent's own time may be short.
    ``look_seconds``: between looks at whether a ring of the doorbell means that a session here was cancelled; infinite
    where no ring can mean that, since nobody rings from another machine.
    ``idle_heartbeat_seconds``: between heartbeats of an agent that has nothing to do, and said so at the last one.
    ``usage_seconds``: between two heartbeats that tell what tasks of one function have used so far.
    ``size``: what each of its slots has; None if nobody says.
    ``tells_output``: whether heartbeats say what running tasks have printed so far.
    """

    lease_seconds: float = limits.LEASE_SECONDS
    lease_margin_seconds: float = limits.LEASE_MARGIN_SECONDS
    heartbeat_seconds: float = limits.HEARTBEAT_SECONDS
    idle_heartbeat_seconds: float = 0.0
    poll_seconds: float = limits.AGENT_POLL_SECONDS
    drain_grace_seconds: float = limits.DRAIN_GRACE_SECONDS
    stuck_seconds: float = limits.STUCK_SECONDS
    longest_task_seconds: float = float("inf")
    look_seconds: float = LOOK_SECONDS
    tells_output: bool = False
    usage_seconds: float = limits.USAGE_SECONDS
    size: PoolSize | None = None
