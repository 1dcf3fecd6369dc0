"""What an agent is, as gauges that are read whenever somebody asks."""

from __future__ import annotations

from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.domain import metrics
from htcgrid_core.ports.metrics import Metrics


def show(agent: Agent, count: Metrics) -> None:
    """Have the gauges of one agent read from now on."""
    readiness = agent.readiness
    count.read(metrics.SLOTS, lambda: agent.slots)
    count.read(metrics.SLOTS_BUSY, lambda: agent.busy)
    count.read(metrics.LEASES, lambda: agent.leases)
    count.read(metrics.MEMORY_BYTES, lambda: agent.memory.used_bytes)
    count.read(metrics.MEMORY_LIMIT_BYTES, lambda: agent.memory.limit_bytes)
    count.read(metrics.AGENTS, lambda: agent.agents)
    count.read(metrics.READY, lambda: not readiness.unready())
    count.read(metrics.DRAINING, lambda: readiness.draining)
    count.read(metrics.BREAKER_OPEN, lambda: readiness.grid_is_open, of="grid")
    count.read(metrics.BREAKER_OPEN, lambda: readiness.workers_are_open, of="workers")
