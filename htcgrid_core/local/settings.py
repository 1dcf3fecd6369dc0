"""The times of an embedded grid's agents, which an operator may change through the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from htcgrid_core.agent.settings import AgentSettings
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput

PREFIX = "HTCGRID_"
HEARTBEATS_PER_LEASE = limits.LEASE_SECONDS / limits.HEARTBEAT_SECONDS
STUCK_LEASES = limits.STUCK_SECONDS / limits.LEASE_SECONDS
MARGINS_PER_LEASE = limits.LEASE_SECONDS / limits.LEASE_MARGIN_SECONDS


class AgentTimes(BaseModel):
    """What an agent reads from its environment; an agent inherits that of the client that starts it.

    A shorter lease brings the tasks of a dead agent back sooner, and makes an agent that is merely slow lose
    its work sooner. Heartbeat and margin keep their proportion to the lease, so that two lost heartbeats never
    lose one. Agents with different settings may share a grid: each lease says until when it holds.

    Attributes:
        lease_seconds: ``HTCGRID_LEASE_SECONDS``, after which others may take the work of an agent that is silent.
        drain_grace_seconds: ``HTCGRID_DRAIN_GRACE_SECONDS``, what a running task gets after SIGTERM; no longer
            than the lease, which is also what it is if only a shorter lease is given.
        cache_bytes: ``HTCGRID_CACHE_BYTES``, of packages and fetched blobs that a machine's agents keep on its
            disk; what is in use may be more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lease_seconds: float = Field(default=limits.LEASE_SECONDS, ge=1, le=3600, allow_inf_nan=False)
    drain_grace_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cache_bytes: int = Field(default=limits.CACHE_BYTES, ge=0)

    @model_validator(mode="after")
    def _related(self) -> Self:
        if self.drain_grace_seconds is not None and self.drain_grace_seconds > self.lease_seconds:
            raise ValueError(f"the grace time must not be above the lease of {self.lease_seconds:g} s")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> AgentTimes:
        """Read the variables that are set.

        Raises:
            InvalidInput: one of them is no good.
        """
        names = dict(zip(cls.model_fields, VARIABLES, strict=True))
        given = {field: environment[name] for field, name in names.items() if environment.get(name)}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            wrong = "; ".join(f"{names.get(str(*e['loc'][:1]), PREFIX + '*')}: {e['msg']}" for e in error.errors())
            raise InvalidInput(f"an agent cannot work with these settings: {wrong}") from error

    def settings(self) -> AgentSettings:
        """All of an agent's times."""
        grace = self.drain_grace_seconds
        return AgentSettings(
            lease_seconds=self.lease_seconds,
            lease_margin_seconds=self.lease_seconds / MARGINS_PER_LEASE,
            heartbeat_seconds=self.lease_seconds / HEARTBEATS_PER_LEASE,
            stuck_seconds=self.lease_seconds * STUCK_LEASES,
            drain_grace_seconds=min(limits.DRAIN_GRACE_SECONDS, self.lease_seconds) if grace is None else grace,
        )


VARIABLES = tuple(PREFIX + field.upper() for field in AgentTimes.model_fields)

assert limits.LOCAL_TIME_SLICE_SECONDS < 1 - 1 / MARGINS_PER_LEASE, "a slice ends within the shortest lease"
