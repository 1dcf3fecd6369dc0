"""Agents that were heard of within a lease, pool by pool."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from htcgrid_core.local.doctor.finding import Findings, ok, problem, warning
from htcgrid_core.ports.session_store import AgentRecord

SHOWN = 5  # of the agents that complain: a thousand may say the same


def agents(pools: Iterable[str], alive: Sequence[AgentRecord]) -> Findings:
    """How many serve each pool, and what those that cannot work say."""
    known = list(pools)
    for pool in known:
        serving = [agent for agent in alive if agent.pool == pool]
        slots, busy = sum(agent.slots for agent in serving), sum(agent.busy for agent in serving)
        text = f"{len(serving):,} alive, {busy:,} of {slots:,} slots busy" if serving else "none alive"
        yield ok("agents", f"pool {pool}: {text}")
    ill = [agent for agent in alive if agent.problem]
    for agent in ill[:SHOWN]:
        yield problem("agents", f"agent {agent.agent_id} cannot work: {agent.problem}", "mend what it says")
    if len(ill) > SHOWN:
        yield problem("agents", f"{len(ill) - SHOWN:,} more agents cannot work", "mend what the first ones say")
    for pool in sorted({agent.pool for agent in alive} - set(known)):
        text = f"agents serve pool {pool!r}, which the grid's parameter does not name (any more)"
        yield warning("agents", text, "end them, or bring the pool back")
