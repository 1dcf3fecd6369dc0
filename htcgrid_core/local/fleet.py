"""The agents that a client of an embedded grid asks for, beside those that run: what is missing, and what is more."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from htcgrid_core.agent.cores import available_cores
from htcgrid_core.agent.variables import PASS_MORE
from htcgrid_core.domain import limits
from htcgrid_core.domain.pool import DEFAULT_POOL, PoolSize
from htcgrid_core.domain.retry import POOL
from htcgrid_core.local.agent_terms import RunningAgent

MEND = "`htcgrid down` ends its agents, and the next submit starts them as asked"


def read_size(text: str) -> PoolSize:
    """A pool as a URL names it: NAME, NAME:MB or NAME:MB:CORES, as in ``large:2048``.

    Raises:
        ValueError: that it is not.
    """
    name, *rest = text.split(":")
    if not re.fullmatch(POOL, name) or len(rest) > 2:
        raise ValueError(f"a pool is NAME, NAME:MB or NAME:MB:CORES, as in large:2048, not {text!r}")
    memory = int(rest[0]) if rest and rest[0] else None
    cpus = float(rest[1]) if len(rest) > 1 else None
    if (memory is not None and not 32 <= memory <= 1 << 20) or (cpus is not None and not 0 < cpus <= 1024):
        raise ValueError(f"pool {name!r} has slots of 32 to {1 << 20:,} MiB, and of up to 1,024 cores, not {text!r}")
    return PoolSize(name, memory, cpus)


def size_text(size: PoolSize) -> str:
    """Undo ``read_size``."""
    text = f"{size.pool}:{size.memory_mb or ''}"
    return text if size.cpus is None else f"{text}:{size.cpus!r}"


@dataclass(frozen=True)
class Fleet:
    """The agents that an embedded grid should have, at least.

    Attributes:
        agents: how many processes.
        slots: tasks that each runs at once; 0 for whatever agents that run have, and for those that are started a slot
            for each of their cores.
        pools: that it has beside the default one, or whose slots have a size. Each has as many agents and slots.
        idle: seconds without work after which they leave; None for whatever agents that run have, or the default.
    """

    agents: int = 1
    slots: int = 0
    idle: float | None = None
    pools: tuple[PoolSize, ...] = ()

    @property
    def sizes(self) -> tuple[PoolSize, ...]:
        """Each pool, the default one first unless it is named elsewhere."""
        names = {size.pool for size in self.pools}
        return self.pools if DEFAULT_POOL.pool in names else (DEFAULT_POOL, *self.pools)

    @property
    def idle_seconds(self) -> float:
        """``idle``, or the default."""
        return limits.AGENT_IDLE_SECONDS if self.idle is None else self.idle

    @property
    def slots_each(self) -> int:
        """``slots``, or a slot for each of an agent's cores."""
        return self.slots or self.cores_each

    @property
    def cores_each(self) -> int:
        """Each agent's share of the cores that this process may use."""
        return max(1, available_cores() // self.agents)

    def missing(self, running: Sequence[RunningAgent]) -> list[int]:
        """The slots of each agent that is to be started beside those that run, so that all together are as asked.

        A grid grows by further agents: what runs on those it has goes on undisturbed.
        """
        agents = max(0, self.agents - len(running))
        if not self.slots or any(agent.slots is None for agent in running):
            return [self.slots_each] * agents
        slots = self.agents * self.slots - sum(agent.slots or 0 for agent in running)
        if slots <= 0:
            return [self.slots] * agents
        agents = max(1, agents)
        fewest, rest = divmod(slots, agents)
        return [max(1, fewest + (number < rest)) for number in range(agents)]

    def excess(self, running: Sequence[RunningAgent]) -> str:
        """What more runs than was asked for, and is left as it is; empty if nothing does."""
        found = []
        slots = sum(agent.slots or 0 for agent in running)
        if self.slots and slots > self.agents * self.slots:
            found.append(f"{in_words(running)}, not {self.agents * self.slots}")
        elif not self.slots and 1 < self.agents < len(running):
            found.append(f"{len(running)} agents, not {self.agents}")
        known = [agent.idle_seconds for agent in running if agent.slots is not None]
        longest = float("inf") if None in known else max((time for time in known if time is not None), default=0.0)
        if self.idle is not None and longest > self.idle:
            stay = "stay without work" if longest == float("inf") else f"leave after {longest:g} s without work"
            found.append(f"agents that {stay}, not after {self.idle:g} s")
        return ", and ".join(found)


def in_words(running: Sequence[RunningAgent]) -> str:
    """How much runs, for people: 2 slots in 1 agent."""
    slots, agents = sum(agent.slots or 0 for agent in running), len(running)
    return f"{slots} {'slot' if slots == 1 else 'slots'} in {agents} {'agent' if agents == 1 else 'agents'}"


def set_otherwise(running: Sequence[RunningAgent], environment: Mapping[str, str]) -> str:
    """Settings of this environment with which agents that run were not started; empty if there are none."""
    found: dict[str, None] = {}
    for agent in running:
        for name in agent.settings or {}:
            here, there = environment.get(name, ""), (agent.settings or {})[name]
            if here and (not _names(here) <= _names(there) if name == PASS_MORE else here != there):
                found[f"{name}={there!r}, not {here!r}" if there else f"no {name}, not {here!r}"] = None
    return ", and ".join(found)


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",")} - {""}
