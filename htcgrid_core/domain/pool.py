"""Pools: classes of compute, whose slots are of one size each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolSize:
    """What each slot of a pool has, as its agents say.

    Attributes:
        memory_mb: MiB for one task; None if nobody says.
        cpus: cores for one task; None if nobody says.
    """

    pool: str
    memory_mb: int | None = None
    cpus: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is anything to tell."""
        return self.memory_mb is not None or self.cpus is not None


DEFAULT_POOL = PoolSize("default")
