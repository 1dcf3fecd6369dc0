"""An agent's right to a bundle."""

from __future__ import annotations

from dataclasses import dataclass

from htcgrid_core.domain import limits


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run and commit one bundle.

    The token is what every write is fenced by; ``until`` (wall clock, seconds since the epoch) only tells
    others when they may reclaim, so a wrong clock costs time, never safety.

    Attributes:
        epoch: how often the bundle has been claimed; part of the key of a large output.
        token: random; whoever holds it may renew and commit.
        until: when others may reclaim the bundle.
        owner: the agent's id.
    """

    epoch: int
    token: str
    until: float
    owner: str


@dataclass(slots=True)
class LeaseClock:
    """How long an agent may trust its own leases, by its own monotonic clock alone.

    Attributes:
        renewed_at: monotonic time just before the last successful claim or renewal was sent.
    """

    renewed_at: float
    lease_seconds: float = limits.LEASE_SECONDS
    margin_seconds: float = limits.LEASE_MARGIN_SECONDS

    def trusted_until(self) -> float:
        """The monotonic time at which the agent must stop its workers by itself."""
        return self.renewed_at + self.lease_seconds - self.margin_seconds
